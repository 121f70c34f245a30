"""What the batcher asks of a caller's work, and of whoever counts its runs."""

import logging
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol, TypeVar

from penstock.dataplane import Context
from penstock.errors import Internal, PenstockError

logger = logging.getLogger(__name__)


class Work(Protocol):
    """One caller's share of a run. Its attributes are read on the hot path: plain slots, not computed properties.

    `rows` counts towards a run's limit, `nbytes` towards the queue's; both may not change while it waits. Works with equal `key`
    may share a run; None shares with nobody. A work is answered exactly once: by `deliver`, or by `error`, which must do nothing
    if the work has already been answered (a `deliver` that fails half-way is followed by `error` for all of its batch).
    """

    @property
    def rows(self) -> int: ...

    @property
    def nbytes(self) -> int: ...

    @property
    def key(self) -> Hashable: ...

    @property
    def context(self) -> Context: ...

    @property
    def disconnected(self) -> bool: ...

    def error(self, error: PenstockError) -> None: ...


W = TypeVar("W", bound=Work)


def fail(work: Work, error: PenstockError) -> None:
    """Answer one work with an error; a work that cannot even take that harms nobody else."""
    try:
        work.error(error)
    except Exception:
        logger.exception("answering a request with an error failed", extra={"request_id": work.context.request_id})


def answerable(caught: BaseException) -> PenstockError:
    """What callers are told of an exception: PenstockErrors as they are; anything else is logged and Internal."""
    if isinstance(caught, PenstockError):
        return untraced(caught)
    logger.error("a batch failed", exc_info=caught)
    return Internal("the request could not be computed; the server's log says why")


def untraced(error: PenstockError) -> PenstockError:
    """The error without its way here: a trace holds its frames and they what was sent, in a circle with whoever keeps the error,
    so that megabytes would wait for the collector, which counts objects."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


class BatchMetrics(Protocol):
    """Counts runs; `penstock.metrics.ModelMetrics` is one."""

    def observe_batch(self, rows: int, items: int, waits_s: Iterable[float]) -> None:
        """A run began: its rows, the works that share it, and how long each of them waited in seconds."""


def count(metrics: BatchMetrics | None, rows: int, waits_s: Sequence[float]) -> None:
    """Count a run; metrics that fail harm nobody's request."""
    if metrics is not None:
        try:
            metrics.observe_batch(rows, len(waits_s), waits_s)
        except Exception:
            logger.exception("counting a batch failed")

"""The prediction log of one process: requests are drawn on the event loop, written on a thread of its own.

    Pipeline --answered, answered_plain--> draw --Taken--> bounded queue --thread--> documents --> LogSink

Invariant: a request waits for nothing here. What does not fit into the queue is dropped and counted; a sink that is away, or
slow, costs log entries and nothing else; whatever fails is counted, never raised.
"""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.errors import PenstockError
from penstock.metrics import labelled
from penstock.tensors import Array
from penstock_transformer.active import ActiveBundle
from penstock_transformer.evidence.sums import Sums
from penstock_transformer.feedback.document import write_request
from penstock_transformer.feedback.sampling import Sampler
from penstock_transformer.feedback.taking import Pick, Taken, documents
from penstock_transformer.group import Group
from penstock_transformer.work import PredictWork

logger = logging.getLogger(__name__)

# How long the thread gathers before it writes, and how long what was taken may take to be written at the end.
_GATHER_S = 0.2
_END_S = 15.0
# What a row of a batch holds in memory while it waits, at least.
_ROW_BYTES = 512
# What a prediction takes as Python values, of CPython 3.11: its dict, a number in a list, a number in a dict.
_PREDICTION_BYTES, _ELEMENT_BYTES, _SCORE_BYTES = 256, 32, 56

RESULTS = ("written", "dropped", "too_large", "failed")


class Entry:
    """One logged request on its way: its model, its id, the label of its bundle, its document."""

    __slots__ = ("bundle", "document", "id", "model")

    def __init__(self, model: str, identity: str, bundle: str, document: bytes) -> None:
        self.model = model
        self.id = identity
        self.bundle = bundle
        self.document = document


class LogSink(Protocol):
    """Where logged requests go. Used by the log's thread alone."""

    def write(self, entries: Sequence[Entry]) -> None:
        """Write all of them; they are lost if this raises PenstockError or OSError."""

    def tick(self) -> None:
        """Called at least every second: time for what is due."""

    def close(self) -> None:
        """Write what is still held."""


class PredictionLog:
    """Made before requests come; `start` before the first is answered, `close` after the last. `sink` is closed with it."""

    def __init__(self, sampler: Sampler, sink: LogSink, *, queue_bytes: int, record_bytes: int, model: str = "") -> None:
        self._sampler = sampler
        self._sink = sink
        self._queue_bytes = queue_bytes
        self._record_bytes = record_bytes
        self._model = model
        self._queue: deque[Taken] = deque()
        self._held = 0
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._closing = False
        self._told = False
        self._thread: threading.Thread | None = None
        self.counts: Counter[str] = Counter()

    async def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what was taken, for so long as that is reasonable."""
        self._closing = True
        self._bell.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _END_S)
            if self._thread.is_alive():
                logger.warning("the prediction log was not written to its end")

    # --- on the event loop

    def answered(self, group: Group, outputs: dict[str, Array]) -> None:
        """A batch of one bundle was answered; draw among its requests. Never raises."""
        picks: list[Pick] = []
        try:
            picks = self._picks(group)
            if picks:
                columns = len(group.plan.spec.features) + 1
                nbytes = group.rows * _ROW_BYTES * columns // 8 + sum(work.nbytes for work in group.works)
                nbytes += _answer_bytes(outputs, group.predictions)
                self._offer(
                    Taken(group.bundle, group.now_s, picks, group.gathered, group.predictions, outputs, group.degraded, nbytes)
                )
        except Exception:
            # Before any is drawn nobody knows how many it would have been.
            self._failed(len(picks) or 1)

    def answered_plain(
        self,
        bundle: ActiveBundle,
        work: PredictWork,
        outputs: dict[str, Array],
        predictions: list[dict[str, Any]],
        sums: Sums | None = None,
    ) -> None:
        """A request to a bundle without features was answered; `sums` count its bundle under the route. Never raises."""
        try:
            chance = self._sampler.chance(bundle.digest, predictions)
            if self._sampler.taken(chance):
                part = work.request.rows if work.request.rows is not None else work.request.columns or {}
                pick = _pick(work, part, 0, work.rows, chance, sums)
                nbytes = work.nbytes + _answer_bytes(outputs, predictions)
                self._offer(Taken(bundle, time.time(), [pick], None, predictions, outputs, False, nbytes))
        except Exception:
            self._failed(1)

    def _picks(self, group: Group) -> list[Pick]:
        if group.bundle.zero_shot is not None:
            return []
        sampler, predictions, picks = self._sampler, group.predictions, []
        start = 0
        for work, part, stop in zip(group.works, group.parts, group.bounds[1:], strict=True):
            chance = sampler.chance(group.bundle.digest, predictions[start:stop]) if sampler.rarity else sampler.rate
            if sampler.taken(chance):
                picks.append(_pick(work, part, start, stop, chance, group.sums))
            start = stop
        return picks

    def _offer(self, taken: Taken) -> None:
        with self._lock:
            fits = self._held + taken.nbytes <= self._queue_bytes and not self._closing
            if fits:
                self._held += taken.nbytes
        if not fits:
            self.counts["dropped"] += len(taken.picks)
            return
        self._queue.append(taken)
        self._bell.set()

    def _failed(self, count: int) -> None:
        if not self._told:
            self._told = True
            logger.exception("a prediction could not be logged; further ones are counted only")
        self.counts["failed"] += count

    # --- on the thread

    def _run(self) -> None:
        while True:
            self._bell.wait(1.0)
            self._bell.clear()
            if not self._closing:
                # Company costs nothing here, and a write less.
                time.sleep(_GATHER_S) if self._queue else None
            self._write_queue()
            closing = self._closing and not self._queue
            self._attempt(self._sink.close if closing else self._sink.tick, 0)
            if closing:
                return

    def _write_queue(self) -> None:
        while self._queue:
            entries: list[Entry] = []
            nbytes = 0
            while self._queue and nbytes < self._queue_bytes // 8 + 1:
                taken = self._queue.popleft()
                nbytes += taken.nbytes
                entries += self._entries(taken)
            if entries and self._attempt(lambda entries=entries: self._sink.write(entries), len(entries)):
                self.counts["written"] += len(entries)
            with self._lock:
                self._held -= nbytes

    def _entries(self, taken: Taken) -> list[Entry]:
        entries, left = [], len(taken.picks)
        try:
            for logged in documents(taken):
                document = write_request(logged)
                left -= 1
                if len(document) > self._record_bytes:
                    self.counts["too_large"] += 1
                else:
                    entries.append(Entry(logged.model, logged.id, taken.bundle.label, document))
        except Exception:
            self._failed(left)
        return entries

    def _attempt(self, work: object, count: int) -> bool:
        assert callable(work)
        try:
            work()
        except Exception as error:
            ours = None if isinstance(error, PenstockError | OSError) else error
            extra = {"reason": str(error), "lost": count}
            logger.warning("the prediction log cannot be written", exc_info=ours, extra=extra)
            self.counts["failed"] += count
            return False
        return True

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        records = CounterMetricFamily(
            "penstock_log_requests", "Requests drawn for the prediction log, by what became of them.", labels=("result",)
        )
        for result in RESULTS:
            records.add_metric((result,), self.counts[result])
        held = GaugeMetricFamily("penstock_log_held_bytes", "What waits to be logged.", self._held)
        return labelled((records, held), model=self._model) if self._model else (records, held)


def _answer_bytes(outputs: dict[str, Array], predictions: list[dict[str, Any]]) -> int:
    """About what an answer holds, often most of all. Its first prediction stands for all: this is paid on the event loop."""
    nbytes = sum(array.nbytes for array in outputs.values())
    if predictions:
        shown, scores = predictions[0].get("outputs"), predictions[0].get("scores")
        nbytes += len(predictions) * (_PREDICTION_BYTES + (_SCORE_BYTES * len(scores) if scores else 0))
        if shown:
            nbytes += _ELEMENT_BYTES * sum(array.size for name, array in outputs.items() if name in shown)
    return nbytes


def _pick(
    work: PredictWork,
    part: list[dict[str, object]] | dict[str, Array],
    start: int,
    stop: int,
    chance: float,
    sums: Sums | None,
) -> Pick:
    shadow = work.copied
    context, request = work.context, work.request
    identity = context.request_id.removesuffix("-shadow") if shadow else context.request_id
    named = context.expect_bundle is not None or request.version is not None
    revision = None if sums is None or named else sums.revision
    return Pick(identity, request.model, _key_of(work), chance, shadow, part, start, stop, revision)


def _key_of(work: PredictWork) -> str | None:
    """What the request was routed by: requests of one key are one observation of a bundle."""
    if work.context.route_key is not None:
        return work.context.route_key
    return work.request.record_id if work.sticky is None else work.sticky.decode("utf-8", "backslashreplace")

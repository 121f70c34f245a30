"""What `GET /queues` says beside the topics' figures, and the document of it all.

ModelFigures (looking), WorkerFigures (this process's machine), DatabaseQueue --> Queues --encode--> JSON
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from penstock_transformer.predictions.port import Backlog
from penstock_transformer.queues.looking import ModelFigures

if TYPE_CHECKING:
    from penstock_transformer.worker.shell import WorkerShell

UP, AWAY, STARTING = "up", "away", "starting"


class BrokerState(msgspec.Struct, frozen=True):
    """Whether the broker answers: `up`, `away`, or `starting` before the first answer; since when (s of the Unix epoch), what it
    said, and how old the figures of the topics are (None: there are none yet)."""

    state: str
    since_s: float
    message: str | None
    figures_age_s: float | None


class WorkerFigures(msgspec.Struct, frozen=True):
    """This process, if it is a worker. Counts are since its start; times in s."""

    partitions: list[str]
    in_flight: int
    held: int
    held_bytes: int
    retrying: int
    isolating: bool
    oldest_s: float
    records: int
    predictions: int
    dead_letters: dict[str, int]
    transactions: int
    aborts: dict[str, int]
    rebalances: int


class DatabaseQueue(msgspec.Struct, frozen=True):
    """The predictions database as a queue, for one model: how many wait, how many are being processed (by a worker, or by a relay
    on its way to Kafka), the oldest one's age in s."""

    model: str
    waiting: int
    processing: int
    oldest_s: float | None


class Queues(msgspec.Struct, frozen=True):
    """The whole document. `at_s` is when it was made, in s of the Unix epoch. `database` None: there is none, or it does not
    answer, which `database_message` says then."""

    at_s: float
    broker: BrokerState | None
    models: list[ModelFigures]
    worker: WorkerFigures | None = None
    database: list[DatabaseQueue] | None = None
    database_message: str | None = None


def encode(queues: Queues) -> bytes:
    """The document's bytes."""
    return msgspec.json.encode(queues)


def worker_figures(shell: "WorkerShell", now: Callable[[], float] = time.time) -> WorkerFigures:
    """What a worker's machine holds and has counted."""
    machine, tally = shell.machine, shell.machine.tally
    queues = machine.queues
    oldest_ms = min((record.timestamp_ms for queue in queues.values() if (record := queue.oldest) is not None), default=None)
    return WorkerFigures(
        partitions=sorted(map(str, queues)),
        in_flight=len(machine.flying),
        held=sum(map(len, queues.values())),
        held_bytes=sum(queue.nbytes for queue in queues.values()),
        retrying=len(machine.retries),
        isolating=machine.isolation.active,
        oldest_s=0.0 if oldest_ms is None else max(0.0, round(now() - oldest_ms / 1e3, 3)),
        records=tally.records,
        predictions=tally.predictions,
        dead_letters=dict(tally.letters),
        transactions=tally.transactions,
        aborts=dict(tally.aborts),
        rebalances=tally.rebalances,
    )


def database_queue(backlog: Backlog, now: Callable[[], float] = time.time) -> DatabaseQueue:
    """A model's backlog as it is shown."""
    return DatabaseQueue(backlog.model, backlog.waiting, backlog.taken, max(0.0, round(now() - backlog.oldest_s, 3)))

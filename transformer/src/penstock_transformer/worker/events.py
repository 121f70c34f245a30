"""What the worker's machine is told: everything that happens outside of it, in the order in which it happened.

    intake thread --Assigned, Revoked, Lost, Polled, CommittedOffsets-->  |
    pipeline      --Outcomes, Health-------------------------------->     |  Machine --Effect--> the shell
    outlet thread --CommitDone, CommitFailed, Restored, RestoreFailed-->  |
    timer, signal --Tick, Drain--------------------------------------->   |

Invariant: events of one source arrive in that source's order. Ownership (Assigned, Revoked, Lost) and records come from one
thread, so that a record never outruns the assignment it belongs to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.worker.outcomes import Outcome


class Failure(Enum):
    """How a call to the broker ended, if not well: the port's errors, by name."""

    RETRIABLE = "retriable"
    IN_DOUBT = "in doubt"
    REBALANCED = "rebalanced"
    FENCED = "fenced"
    TOO_LARGE = "too large"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Assigned:
    """These partitions are ours from now on, beside those that are."""

    partitions: Sequence[Partition]


@dataclass(frozen=True, slots=True)
class Revoked:
    """These go to another member as soon as `Machine.may_release` says so."""

    partitions: Sequence[Partition]


@dataclass(frozen=True, slots=True)
class Lost:
    """These belong to another member already."""

    partitions: Sequence[Partition]


@dataclass(frozen=True, slots=True)
class Polled:
    """Records that were read, in offset order within each partition."""

    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of records that were to be predicted, in any order."""

    outcomes: Sequence[tuple[Record, Outcome]]


@dataclass(frozen=True, slots=True)
class Health:
    """The answer to `Probe`."""

    healthy: bool


@dataclass(frozen=True, slots=True)
class CommitDone:
    """The commit under way is durable."""


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """The commit under way failed. `at`: for TOO_LARGE, the record's place in the commit, None if unknown."""

    failure: Failure
    reason: str
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """The outlet works again, and what it had left open is committed or aborted."""


@dataclass(frozen=True, slots=True)
class RestoreFailed:
    """It does not yet (RETRIABLE, IN_DOUBT), or never will."""

    failure: Failure
    reason: str


@dataclass(frozen=True, slots=True)
class CommittedOffsets:
    """The answer to `AskCommitted`: the next record to read of each, None where nothing was committed; `offsets` None if the
    broker could not say."""

    offsets: Mapping[Partition, int | None] | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: the shell sends one at the moment that `WakeAt` named, and may send more."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Take nothing more, finish and commit what is in flight by `deadline`, then stop."""

    deadline: float


Event = (
    Assigned
    | Revoked
    | Lost
    | Polled
    | Outcomes
    | Health
    | CommitDone
    | CommitFailed
    | Restored
    | RestoreFailed
    | CommittedOffsets
    | Tick
    | Drain
)

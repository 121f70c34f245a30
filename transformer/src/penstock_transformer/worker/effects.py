"""What the worker's machine asks for: the shell carries these out, in the order given, and tells what came of them as events.

    Machine.handle(event) -> [Predict, Pause, Resume, Commit, Restore, AskCommitted, Regroup, Probe, WakeAt, Stop]

Invariant: at most one of Commit, Restore and AskCommitted is under way; each is answered by exactly one event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock_transformer.broker.records import OutRecord, Partition, Record


@dataclass(frozen=True, slots=True)
class Predict:
    """Send these through the pipeline; every one of them comes back in an `Outcomes`."""

    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Pause:
    """Read no more of these for now; what was read already may still come."""

    partitions: Sequence[Partition]


@dataclass(frozen=True, slots=True)
class Resume:
    """Read these again."""

    partitions: Sequence[Partition]


@dataclass(frozen=True, slots=True)
class Commit:
    """Write these records and offsets (the next to read) in one transaction; answered by CommitDone or CommitFailed."""

    records: Sequence[OutRecord]
    offsets: Mapping[Partition, int]


@dataclass(frozen=True, slots=True)
class Restore:
    """Make the outlet work again; answered by Restored or RestoreFailed."""


@dataclass(frozen=True, slots=True)
class AskCommitted:
    """Ask for the group's committed offsets; answered by CommittedOffsets."""

    partitions: Sequence[Partition]


@dataclass(frozen=True, slots=True)
class Regroup:
    """The group has moved on: take its membership anew, soon."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask whether predictor and store answer; answered by Health."""


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send a Tick at this time, in the seconds of `now`. A sooner one replaces a later one."""

    when: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Close intake and outlet without committing anything more, and end the process with `status`."""

    reason: str
    status: int


Effect = Predict | Pause | Resume | Commit | Restore | AskCommitted | Regroup | Probe | WakeAt | Stop

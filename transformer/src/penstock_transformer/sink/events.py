"""What the sink's machine is told."""

from collections.abc import Sequence

import msgspec

from penstock_transformer.broker.records import Partition, Record


class Assigned(msgspec.Struct, frozen=True):
    partitions: Sequence[Partition]


class Taken(msgspec.Struct, frozen=True):
    """These are another member's now, or soon."""

    partitions: Sequence[Partition]


class Polled(msgspec.Struct, frozen=True, eq=False):
    """In offset order within each partition."""

    records: Sequence[Record]


class Written(msgspec.Struct, frozen=True):
    """`changed` predictions ended by it, `unknown` are not in the database; the others had ended before."""

    changed: int
    unknown: int


class WriteFailed(msgspec.Struct, frozen=True):
    """The database is away: nothing was written, or it may be written again."""

    reason: str


class WriteRefused(msgspec.Struct, frozen=True):
    """Something in these endings cannot be written, for a reason that waiting does not mend."""

    reason: str


class Committed(msgspec.Struct, frozen=True): ...


class CommitFailed(msgspec.Struct, frozen=True):
    reason: str


class Tick(msgspec.Struct, frozen=True):
    """The machine's deadline has come."""


class Stop(msgspec.Struct, frozen=True):
    """Write and commit what was read, read no more."""


Event = Assigned | Taken | Polled | Written | WriteFailed | WriteRefused | Committed | CommitFailed | Tick | Stop

"""What the sink's machine wants done. Each but Pause, Resume and Finish is answered by one event."""

from collections.abc import Mapping, Sequence

import msgspec

from penstock_transformer.broker.records import Partition
from penstock_transformer.predictions.resource import Ending


class Write(msgspec.Struct, frozen=True, eq=False):
    """Write these endings, in one transaction. -> Written, WriteFailed, WriteRefused"""

    endings: Sequence[Ending]


class Commit(msgspec.Struct, frozen=True, eq=False):
    """Commit the group's offsets (the next to read). -> Committed, CommitFailed"""

    offsets: Mapping[Partition, int]


class Pause(msgspec.Struct, frozen=True):
    """Read no more of these for now."""

    partitions: Sequence[Partition]


class Resume(msgspec.Struct, frozen=True):
    """Read these again."""

    partitions: Sequence[Partition]


class Finish(msgspec.Struct, frozen=True):
    """Nothing more comes."""


Effect = Write | Commit | Pause | Resume | Finish

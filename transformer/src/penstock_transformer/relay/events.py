"""What the relay's machine is told: what came of its effects, that something was submitted, that time passed, to stop."""

from collections.abc import Sequence
from enum import Enum

import msgspec

from penstock_transformer.relay.port import Intent, Lease


class Leased(msgspec.Struct, frozen=True):
    lease: Lease


class Opened(msgspec.Struct, frozen=True):
    """The producer is ours, and nothing is open under its id."""


class MarkerRead(msgspec.Struct, frozen=True):
    """The number of the batch that the slot sent last; 0 for none."""

    number: int


class Loaded(msgspec.Struct, frozen=True, eq=False):
    intents: Sequence[Intent]


class Claimed(msgspec.Struct, frozen=True, eq=False):
    """Empty: there was nothing to claim, and the number is not used."""

    intents: Sequence[Intent]


class Sent(msgspec.Struct, frozen=True):
    """The transaction is committed."""


class Fault(Enum):
    """Why a transaction, or the taking over of an id, did not come to a good end."""

    UNKNOWN = "unknown"  # nothing was committed, or nobody knows: only the marker says
    FENCED = "fenced"
    TOO_LARGE = "too_large"
    REFUSED = "refused"  # nothing was committed, and trying again the same way will not help soon


class SendFailed(msgspec.Struct, frozen=True):
    """`at` is the place of a record that is too large among the batch's, None if not known."""

    fault: Fault
    reason: str
    at: int | None = None


class Marked(msgspec.Struct, frozen=True):
    """So many intents are gone."""

    intents: int


class Unclaimed(msgspec.Struct, frozen=True): ...


class Refused(msgspec.Struct, frozen=True): ...


class Renewed(msgspec.Struct, frozen=True):
    """`abandoned`: another slot was left with a pending batch."""

    abandoned: bool


class RenewFailed(msgspec.Struct, frozen=True): ...


class Released(msgspec.Struct, frozen=True): ...


class Failed(msgspec.Struct, frozen=True):
    """The effect could not be done, or nobody knows; the same may be tried again later."""

    reason: str


class Lost(msgspec.Struct, frozen=True):
    """The slot is another's by now."""


class Broken(msgspec.Struct, frozen=True):
    """Something that nothing expects: forget everything and begin anew from what database and broker say."""

    reason: str


class Woken(msgspec.Struct, frozen=True):
    """Something was submitted."""


class Tick(msgspec.Struct, frozen=True):
    """The machine's deadline has come."""


class Stop(msgspec.Struct, frozen=True):
    """Finish the batch under way and give the slot back."""


Event = (
    Leased
    | Opened
    | MarkerRead
    | Loaded
    | Claimed
    | Sent
    | SendFailed
    | Marked
    | Unclaimed
    | Refused
    | Renewed
    | RenewFailed
    | Released
    | Failed
    | Lost
    | Broken
    | Woken
    | Tick
    | Stop
)

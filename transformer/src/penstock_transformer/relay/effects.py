"""What the relay's machine wants done: one effect at a time, `Renew` beside it. Each is answered by one event."""

from collections.abc import Sequence

import msgspec

from penstock_transformer.relay.port import Claim, Intent, Slot


class LeaseSlot(msgspec.Struct, frozen=True):
    """Take a slot in the database. -> Leased"""

    take_back: bool


class Open(msgspec.Struct, frozen=True):
    """Take the slot's transactional id over: whoever had it is fenced, what he left open aborted. -> Opened, SendFailed"""

    slot: Slot


class ReadMarker(msgspec.Struct, frozen=True):
    """Read the slot's latest marker, read_committed, to the topic's end as it is now. -> MarkerRead"""

    slot: Slot


class LoadBatch(msgspec.Struct, frozen=True):
    """Read the pending batch from the database. -> Loaded"""

    slot: Slot
    number: int


class ClaimBatch(msgspec.Struct, frozen=True):
    """Claim intents under the next number. -> Claimed"""

    slot: Slot
    after: int
    number: int
    what: Claim


class Send(msgspec.Struct, frozen=True, eq=False):
    """Write the batch's records and its marker in one transaction. -> Sent, SendFailed"""

    slot: Slot
    number: int
    intents: Sequence[Intent]


class Restore(msgspec.Struct, frozen=True):
    """Make the producer work again under its id. -> Opened, SendFailed"""

    slot: Slot


class MarkBatch(msgspec.Struct, frozen=True):
    """Remove the batch's intents. -> Marked"""

    slot: Slot
    number: int


class UnclaimBatch(msgspec.Struct, frozen=True):
    """Let the batch's intents wait again. -> Unclaimed"""

    slot: Slot
    number: int


class Refuse(msgspec.Struct, frozen=True):
    """Fail the prediction whose record is over what the topic takes. -> Refused"""

    slot: Slot
    number: int
    intent_id: str
    message: str


class Renew(msgspec.Struct, frozen=True):
    """Hold the slot longer; beside whatever else is under way. -> Renewed, RenewFailed"""

    slot: Slot


class Release(msgspec.Struct, frozen=True):
    """Give the slot back and close its producer. -> Released"""

    slot: Slot


class Finish(msgspec.Struct, frozen=True):
    """Nothing more comes."""


Effect = (
    LeaseSlot
    | Open
    | ReadMarker
    | LoadBatch
    | ClaimBatch
    | Send
    | Restore
    | MarkBatch
    | UnclaimBatch
    | Refuse
    | Renew
    | Release
    | Finish
)

r"""The relay's port to the database: intents to publish, and the slots under which relays work.

    intents:  waiting --claim--> claimed by a slot, under the slot's batch number --mark--> gone
                 ^---------unclaim---/                             \--refuse--> gone, the prediction failed

A slot is a place for one relay: it has a name (which is its transactional id on Kafka, and its key in `penstock.relays`), an
epoch (grows with every owner), a lease, the number of its latest batch, and whether that batch is still to be marked.

Invariant: everything is conditional on the slot's epoch, so that who lost the slot changes nothing; and at most one batch of a
slot is pending. Numbers of a slot only grow: a marker on Kafka that is not below a batch's number says that the batch was sent.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import msgspec

from penstock.errors import Conflict
from penstock_transformer.broker.records import Headers
from penstock_transformer.predictions.resource import Payload


class Superseded(Conflict):
    """The slot has another owner by now, or none: what was asked did not happen."""


class Intent(msgspec.Struct, frozen=True, eq=False):
    """A prediction to be published. `sequence` is the order in which they came; `headers` go with the record as they are."""

    id: str
    model: str
    sequence: int
    payload: Payload
    key: bytes | None = None
    headers: Headers = ()
    created_s: float = 0.0


class Slot(NamedTuple):
    """A slot as one owner holds it."""

    name: str
    epoch: int


class Lease(NamedTuple):
    """What an owner finds. `batch` is the number of the slot's latest batch (0: none yet), `pending` whether it is unmarked."""

    slot: Slot
    batch: int
    pending: bool


class Claim(NamedTuple):
    """What may be claimed: at most so many intents and so many bytes of them (one always goes), none of the models to `avoid`;
    `one_model` takes those of the first one's model alone."""

    records: int
    nbytes: int
    avoid: Collection[str] = ()
    one_model: bool = False


class Waiting(NamedTuple):
    """What is not published yet: intents, and when the oldest came (s of the Unix epoch; None without any)."""

    intents: int
    oldest_s: float | None


class Intents(Protocol):
    """Where intents are kept. Every call raises UpstreamUnavailable where the database cannot be reached: whether it happened
    is not known then, and the same call may be made again. All that take a slot raise Superseded."""

    async def lease(self, owner: str, lease_s: float, *, take_back: bool) -> Lease:
        """Take a slot: one that was left with a pending batch, else any free one, else a new one.

        `owner` is `<instance>:<process>`. `take_back` takes a slot of the same instance before its lease has ended: it is a
        restarted program's own.
        """

    async def renew(self, slot: Slot, lease_s: float) -> bool:
        """Hold it longer; whether another slot was left with a pending batch."""

    async def claim(self, slot: Slot, after: int, number: int, what: Claim) -> Sequence[Intent]:
        """Claim intents in the order they came, as batch `number`, where `after` was the slot's latest.

        No intent is claimed while an earlier one of its model and key is claimed by another slot. Without any, nothing changes.
        Made again with the same numbers it answers the same.
        """

    async def load(self, slot: Slot, number: int) -> Sequence[Intent]:
        """The pending batch, in the order it was claimed."""

    async def mark(self, slot: Slot, number: int) -> int:
        """It was sent: its intents are gone; how many those were. One that is marked already stays so."""

    async def unclaim(self, slot: Slot, number: int) -> None:
        """It was not sent and will not be under this number: its intents wait again."""

    async def refuse(self, slot: Slot, number: int, intent_id: str, message: str) -> None:
        """Kafka never takes this one: the intent is gone and its prediction failed, as `too_large`."""

    async def release(self, slot: Slot) -> None:
        """Give the slot back, with its pending batch if there is one. Raises nothing for a slot that is lost."""

    async def waiting(self) -> Waiting:
        """What is not published yet, claimed or not."""

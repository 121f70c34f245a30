"""The table of intents in memory: what `predictions.intents` promises a relay, in a few lines.

    relay machine --effects--> IntentTable, a broker in memory --answers--> relay machine

Invariant: an intent is claimed by one slot at most, and of one key by one slot at a time.
"""

from dataclasses import dataclass

from penstock_transformer.relay.port import Claim, Intent, Lease, Slot, Superseded

LEASE_S = 10.0


@dataclass
class SlotRow:
    """A slot: who leases it until when, and the number of its latest batch."""

    name: str
    epoch: int = 0
    owner: str = ""
    expires: float = 0.0
    batch: int = 0
    pending: bool = False


class IntentTable:
    """Slots that relays lease, and the intents that wait or are claimed by a slot; every call names the slot that it acts for.

    Raises Superseded for a slot that another has leased since.
    """

    def __init__(self) -> None:
        self.slots: dict[str, SlotRow] = {}
        self.intents: dict[int, Intent] = {}
        self.claimed: dict[int, str] = {}
        self.failed: list[str] = []

    def held(self, slot: Slot) -> SlotRow:
        """The slot's row, if it is still the caller's."""
        row = self.slots[slot.name]
        if row.epoch != slot.epoch:
            raise Superseded("another owner")
        return row

    def lease(self, owner: str, now: float, take_back: bool) -> Lease:
        """A slot for this owner: its own, one that is free, or a new one; `take_back` takes what an earlier process of it had."""
        instance = owner.partition(":")[0]
        rows = list(self.slots.values())
        own = [row for row in rows if row.owner == owner or (take_back and row.owner.startswith(f"{instance}:"))]
        free = sorted((row for row in rows if not row.owner or row.expires <= now), key=lambda row: not row.pending)
        row = next(iter([*own, *free]), None)
        if row is None:
            row = self.slots[f"s{len(rows)}"] = SlotRow(f"s{len(rows)}")
        row.epoch, row.owner, row.expires = row.epoch + 1, owner, now + LEASE_S
        return Lease(Slot(row.name, row.epoch), row.batch, row.pending)

    def renew(self, slot: Slot, now: float) -> bool:
        """Hold a slot for longer; whether a slot with a batch has run out."""
        self.held(slot).expires = now + LEASE_S
        return any(row.pending and row.expires <= now for row in self.slots.values())

    def blocked(self, slot: Slot, intent: Intent) -> bool:
        """Whether another slot has claimed an intent of the same key."""
        return any(
            self.intents[sequence].key == intent.key and name != slot.name
            for sequence, name in self.claimed.items()
            if intent.key is not None
        )

    def claim(self, slot: Slot, after: int, number: int, what: Claim) -> list[Intent]:
        """The batch `number` of a slot: what it had under that number, or the intents that may go next."""
        row = self.held(slot)
        if row.pending and row.batch == number:
            return self.batch(slot)
        if row.pending or row.batch != after:
            raise Superseded("another batch")
        waiting = [one for sequence, one in sorted(self.intents.items()) if sequence not in self.claimed]
        found: list[Intent] = []
        for one in waiting:
            if one.model in what.avoid or self.blocked(slot, one) or (what.one_model and found and one.model != found[0].model):
                continue
            if len(found) == what.records or (found and sum(x.payload.nbytes for x in [*found, one]) > what.nbytes):
                break
            found.append(one)
        if found:
            row.batch, row.pending = number, True
            self.claimed |= {one.sequence: slot.name for one in found}
        return found

    def batch(self, slot: Slot) -> list[Intent]:
        """What a slot has claimed, in order."""
        return [self.intents[sequence] for sequence in sorted(self.intents) if self.claimed.get(sequence) == slot.name]

    def end(self, slot: Slot, number: int, *, keep: bool) -> None:
        """The batch is published, or is to wait again (`keep`); nothing if it has ended."""
        row = self.held(slot)
        if row.batch != number or not row.pending:
            return
        for one in self.batch(slot):
            del self.claimed[one.sequence]
            if not keep:
                del self.intents[one.sequence]
        row.pending = False

    def refuse(self, slot: Slot, intent_id: str) -> None:
        """Fail one intent of the batch."""
        self.held(slot)
        for one in self.batch(slot):
            if one.id == intent_id:
                del self.intents[one.sequence], self.claimed[one.sequence]
                self.failed.append(one.id)

    def release(self, slot: Slot) -> None:
        """Let a slot go."""
        row = self.slots[slot.name]
        if row.epoch == slot.epoch:
            row.owner, row.expires = "", 0.0

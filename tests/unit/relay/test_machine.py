"""What the relay's machine does where the usual way is left: waking and sweeping, leases, stopping, faults of a send."""

from typing import Any

import pytest

from penstock_transformer.predictions.resource import Payload
from penstock_transformer.relay import effects as fx
from penstock_transformer.relay import events as ev
from penstock_transformer.relay.machine import RelayLimits, RelayMachine
from penstock_transformer.relay.port import Intent, Lease, Slot
from penstock_transformer.relay.shunned import Shunned

SLOT = Slot("s", 1)
LIMITS = RelayLimits(renew_s=3.0, sweep_s=5.0, retry_s=1.0, retry_most_s=4.0, shun_most_s=8.0)


def intent(name: str, model: str = "m", nbytes: int = 1) -> Intent:
    return Intent(name, model, 1, Payload(b"{}", (), nbytes))


class Driven:
    """A machine at a time of its own; `tell` returns the effects by name, `effects` keeps them."""

    def __init__(self, *, batch: int = 4, pending: bool = False, marker: int = 4) -> None:
        self.now = 0.0
        self.machine = RelayMachine(LIMITS)
        self.effects: list[Any] = self.machine.start(0.0)
        self.tell(ev.Leased(Lease(SLOT, batch, pending)), ev.Opened(), ev.MarkerRead(marker))

    def tell(self, *told: ev.Event) -> list[str]:
        for event in told:
            self.effects = self.machine.handle(event, self.now)
        return [type(effect).__name__ for effect in self.effects]

    def wait(self) -> list[str]:
        """Until it wants to be woken."""
        assert self.machine.deadline is not None
        self.now = self.machine.deadline
        return self.tell(ev.Tick())

    def sent(self, *intents: Intent) -> list[str]:
        """A batch of these was claimed and is being sent."""
        return self.tell(ev.Claimed(intents))


class TestRest:
    def test_without_a_word_it_looks_again_after_a_while(self) -> None:
        relay = Driven()
        assert relay.tell(ev.Claimed(())) == []
        assert relay.wait() == ["Renew"]
        assert relay.wait() == ["ClaimBatch"]
        assert relay.now == 5.0

    def test_what_was_submitted_while_it_looked_is_looked_for_at_once(self) -> None:
        relay = Driven()
        assert relay.tell(ev.Woken()) == []
        assert relay.tell(ev.Claimed(())) == ["ClaimBatch"]
        assert relay.tell(ev.Claimed(())) == [], "one word is worth one look"

    @pytest.mark.parametrize("why", [ev.Stop(), ev.Renewed(abandoned=True)])
    def test_what_it_is_told_while_it_looks_counts_when_nothing_is_found(self, why: ev.Event) -> None:
        relay = Driven()
        assert relay.tell(why) == []
        assert relay.tell(ev.Claimed(())) == ["Release"]

    def test_a_relay_at_rest_stops_at_once(self) -> None:
        relay = Driven()
        relay.tell(ev.Claimed(()))
        assert relay.tell(ev.Stop()) == ["Release"]
        assert relay.tell(ev.Released()) == ["Finish"]


class TestLease:
    def test_it_is_renewed_once_at_a_time_and_again_after_a_failure(self) -> None:
        relay = Driven()
        relay.sent(intent("a"))
        assert relay.wait() == ["Renew"]
        assert relay.machine.deadline is None, "while one is under way, no other"
        relay.tell(ev.RenewFailed())
        assert relay.wait() == ["Renew"]
        assert relay.now == 6.0
        relay.tell(ev.Renewed(abandoned=False))
        assert relay.machine.deadline == 9.0

    def test_a_slot_of_the_same_instance_is_taken_back_only_at_the_start(self) -> None:
        relay = Driven()
        assert relay.tell(ev.Lost()) == ["LeaseSlot"]
        assert not relay.effects[0].take_back
        assert RelayMachine(LIMITS).start(0.0) == [fx.LeaseSlot(take_back=True)]

    def test_another_slots_marker_does_not_count(self) -> None:
        relay = Driven(batch=70, marker=70)
        relay.tell(ev.Lost(), ev.Leased(Lease(Slot("t", 1), 2, True)), ev.Opened())
        assert relay.tell(ev.MarkerRead(1)) == ["LoadBatch"]
        assert relay.effects == [fx.LoadBatch(Slot("t", 1), 2)]

    def test_a_batch_that_was_refused_under_the_old_slot_is_not_given_back_under_the_new(self) -> None:
        relay = Driven()
        relay.sent(intent("a"))
        relay.tell(ev.SendFailed(ev.Fault.REFUSED, "no topic"))
        relay.wait()
        relay.tell(ev.Lost(), ev.Leased(Lease(SLOT, 5, True)), ev.Opened())
        assert relay.tell(ev.MarkerRead(4)) == ["LoadBatch"]


class TestStopping:
    def test_a_slot_that_comes_while_it_stops_is_given_back(self) -> None:
        machine = RelayMachine(LIMITS)
        machine.start(0.0)
        assert machine.handle(ev.Stop(), 0.0) == []
        assert machine.handle(ev.Leased(Lease(SLOT, 4, True)), 0.0) == [fx.Release(SLOT)]

    @pytest.mark.parametrize("fault", [ev.SendFailed(ev.Fault.UNKNOWN, "away"), ev.Failed("away")])
    def test_what_fails_is_left_to_whoever_takes_the_slot(self, fault: ev.Event) -> None:
        relay = Driven()
        relay.sent(intent("a"))
        relay.tell(ev.Stop())
        assert relay.tell(fault) == ["Release"]
        assert relay.tell(ev.Released()) == ["Finish"]

    def test_a_release_that_fails_is_not_tried_for_ever(self) -> None:
        relay = Driven()
        relay.tell(ev.Claimed(()), ev.Stop())
        assert relay.tell(ev.Failed("away")) == ["Finish"]

    def test_who_waits_to_try_again_stops_at_once(self) -> None:
        relay = Driven()
        relay.sent(intent("a"))
        relay.tell(ev.SendFailed(ev.Fault.UNKNOWN, "away"))
        assert relay.tell(ev.Stop()) == ["Release"]


class TestSending:
    def test_a_fenced_relay_waits_before_it_takes_a_slot_again(self) -> None:
        """Two that fence each other would do nothing else."""
        relay = Driven()
        relay.sent(intent("a"))
        assert relay.tell(ev.SendFailed(ev.Fault.FENCED, "newer")) == []
        assert relay.machine.slot is None
        assert relay.wait() == ["LeaseSlot"]
        assert relay.now == 1.0

    def test_the_wait_doubles_and_is_short_again_after_a_success(self) -> None:
        relay = Driven()
        relay.sent(intent("a"))
        waits = []
        for _ in range(4):
            relay.tell(ev.Renewed(abandoned=False), ev.SendFailed(ev.Fault.UNKNOWN, "away"))
            before, wakes = relay.now, []
            while "Restore" not in wakes:
                wakes = relay.wait()
            waits.append(relay.now - before)
            relay.tell(ev.Opened(), ev.MarkerRead(4))
        assert waits == [1.0, 2.0, 4.0, 4.0]
        relay.tell(ev.Sent(), ev.Marked(1))
        relay.sent(intent("b"))
        before = relay.now
        relay.tell(ev.Renewed(abandoned=False), ev.SendFailed(ev.Fault.UNKNOWN, "away"))
        assert relay.wait() == ["Restore"]
        assert relay.now - before == 1.0

    def test_a_refused_batch_is_given_back_once_and_the_next_is_sent(self) -> None:
        relay = Driven()
        relay.sent(intent("a"))
        relay.tell(ev.SendFailed(ev.Fault.REFUSED, "no topic"))
        relay.wait()
        assert relay.tell(ev.Opened(), ev.MarkerRead(4)) == ["UnclaimBatch"]
        relay.tell(ev.Unclaimed())
        relay.sent(intent("b"))
        relay.tell(ev.SendFailed(ev.Fault.UNKNOWN, "away"))
        while "Restore" not in relay.wait():
            relay.tell(ev.Renewed(abandoned=False))
        assert relay.tell(ev.Opened(), ev.MarkerRead(4)) == ["Send"]

    def test_a_model_whose_topic_is_back_is_left_out_for_a_short_while_only_the_next_time(self) -> None:
        relay = Driven()

        def refused() -> float:
            """One more refusal of the model alone; for how long it is left out."""
            relay.sent(intent("a", "bad"))
            relay.tell(ev.SendFailed(ev.Fault.REFUSED, "no topic"))
            at = relay.now
            while "Restore" not in relay.wait():
                relay.tell(ev.Renewed(abandoned=False))
            relay.tell(ev.Opened(), ev.MarkerRead(4), ev.Unclaimed())
            shunned = relay.machine._shunned
            return next(step / 2 for step in range(100) if not shunned.avoided(at + step / 2))

        assert [refused(), refused()] == [1.0, 2.0]
        relay.sent(intent("a", "bad"))
        relay.tell(ev.Sent(), ev.Marked(1))
        assert refused() == 1.0

    def test_of_a_place_that_is_none_of_the_batch_the_largest_is_meant(self) -> None:
        """The marker is the last record of the transaction, and no intent."""
        relay = Driven()
        relay.sent(intent("a"), intent("big", nbytes=9))
        relay.tell(ev.SendFailed(ev.Fault.TOO_LARGE, "too large", at=2))
        assert relay.effects == [fx.Refuse(SLOT, 5, "big", "too large")]

    def test_a_batch_of_which_nothing_is_left_is_marked_unsent(self) -> None:
        relay = Driven()
        relay.sent(intent("big"))
        assert relay.tell(ev.SendFailed(ev.Fault.TOO_LARGE, "too large", at=0)) == ["Refuse"]
        assert relay.tell(ev.Refused(), ev.Opened(), ev.MarkerRead(4)) == ["MarkBatch"]


class TestShunned:
    def test_a_model_alone_in_a_refused_batch_is_left_out_longer_each_time(self) -> None:
        shunned = Shunned(1.0, 4.0)
        untils, now = [], 0.0
        for _ in range(4):
            shunned.refuse({"bad"}, now)
            until = next(step / 2 for step in range(1000) if not shunned.avoided(step / 2) and step / 2 > now)
            untils.append(until - now)
            now = until
        assert untils == [1.0, 2.0, 4.0, 4.0]

    def test_one_that_was_sent_is_forgiven(self) -> None:
        shunned = Shunned(1.0, 4.0)
        shunned.refuse({"m"}, 0.0)
        shunned.accept({"m"})
        assert not shunned.avoided(0.0)
        shunned.refuse({"m"}, 0.0)
        assert not shunned.avoided(1.0), "its waits begin anew"

    def test_of_several_nobody_is_left_out_but_batches_hold_one_model(self) -> None:
        shunned = Shunned(1.0, 4.0)
        shunned.refuse({"a", "b"}, 0.0)
        assert not shunned.avoided(0.0)
        assert [shunned.narrow(now) for now in (0.0, 3.9, 4.0)] == [True, True, False]

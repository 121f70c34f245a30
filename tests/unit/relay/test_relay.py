"""What the relay's machine, its record and its shell do, one case at a time."""

import asyncio
from typing import Any

import pytest

from penstock.errors import UpstreamUnavailable
from penstock_transformer.broker.port import BrokerError, Fenced, InDoubt, TooLargeForTopic
from penstock_transformer.predictions.resource import Payload
from penstock_transformer.relay import effects as fx
from penstock_transformer.relay import events as ev
from penstock_transformer.relay.machine import RelayLimits, RelayMachine
from penstock_transformer.relay.port import Intent, Lease, Slot, Superseded
from penstock_transformer.relay.publishing import marker_of, number_of, request_of
from penstock_transformer.relay.shell import RelayShell

SLOT = Slot("s", 1)


def intent(name: str, model: str = "m", nbytes: int = 1) -> Intent:
    return Intent(name, model, 1, Payload(b"{}", (("content-type", b"application/json"),), nbytes), created_s=1_700_000_000.5)


def settled(pending: bool = False) -> RelayMachine:
    """A machine that has a slot and asks to claim (or has a batch to resolve)."""
    machine = RelayMachine(RelayLimits())
    machine.start(0.0)
    machine.handle(ev.Leased(Lease(SLOT, 4, pending)), 0.0)
    machine.handle(ev.Opened(), 0.0)
    return machine


def test_a_batch_is_claimed_sent_marked_in_that_order() -> None:
    machine = settled()
    [claim] = machine.handle(ev.MarkerRead(4), 0.0)
    assert isinstance(claim, fx.ClaimBatch)
    assert (claim.after, claim.number) == (4, 5)
    batch = [intent("a")]
    [send] = machine.handle(ev.Claimed(batch), 0.0)
    assert isinstance(send, fx.Send)
    assert (send.slot, send.number, send.intents) == (SLOT, 5, batch)
    assert machine.handle(ev.Sent(), 0.0) == [fx.MarkBatch(SLOT, 5)]
    [again] = machine.handle(ev.Marked(1), 0.0)
    assert isinstance(again, fx.ClaimBatch)
    assert machine.handle(ev.Claimed([]), 1.0) == []
    assert [type(effect) for effect in machine.handle(ev.Woken(), 1.0)] == [fx.ClaimBatch]


@pytest.mark.parametrize(("marker", "expected"), [(0, fx.LoadBatch), (3, fx.LoadBatch), (4, fx.MarkBatch), (9, fx.MarkBatch)])
def test_a_pending_batch_is_sent_or_marked_as_the_marker_says(marker: int, expected: type) -> None:
    assert [type(effect) for effect in settled(pending=True).handle(ev.MarkerRead(marker), 0.0)] == [expected]


def test_a_database_that_was_put_back_counts_on_from_the_marker() -> None:
    [claim] = settled().handle(ev.MarkerRead(70), 0.0)
    assert isinstance(claim, fx.ClaimBatch)
    assert (claim.after, claim.number) == (4, 71)


def test_a_model_whose_topic_refuses_is_found_and_left_out() -> None:
    machine = settled()
    machine.handle(ev.MarkerRead(4), 0.0)
    claim = _refused(machine, [intent("a", "good"), intent("b", "bad")], 0.0)
    assert claim.what.one_model
    assert not claim.what.avoid
    claim = _refused(machine, [intent("b", "bad")], 1.0)
    assert claim.what.avoid == frozenset({"bad"})
    machine.handle(ev.Claimed([intent("a", "good")]), 1.0)
    machine.handle(ev.Sent(), 1.0)
    machine.handle(ev.Marked(1), 1.0)
    assert (machine.batches, machine.published) == (1, 1)


def _refused(machine: RelayMachine, batch: list[Intent], now: float) -> fx.ClaimBatch:
    machine.handle(ev.Claimed(batch), now)
    assert machine.handle(ev.SendFailed(ev.Fault.REFUSED, "no such topic"), now) == []
    assert machine.deadline is not None
    assert [type(effect) for effect in machine.handle(ev.Tick(), machine.deadline)] == [fx.Restore]
    machine.handle(ev.Opened(), now)
    assert [type(effect) for effect in machine.handle(ev.MarkerRead(4), now)] == [fx.UnclaimBatch]
    [claim] = machine.handle(ev.Unclaimed(), now)
    assert isinstance(claim, fx.ClaimBatch)
    return claim


def test_a_record_that_is_too_large_goes_and_the_others_are_sent() -> None:
    machine = settled()
    machine.handle(ev.MarkerRead(4), 0.0)
    machine.handle(ev.Claimed([intent("a"), intent("big", nbytes=99), intent("c")]), 0.0)
    [refuse] = machine.handle(ev.SendFailed(ev.Fault.TOO_LARGE, "too large"), 0.0)
    assert refuse == fx.Refuse(SLOT, 5, "big", "too large")
    assert machine.handle(ev.Refused(), 0.0) == [fx.Restore(SLOT)]
    machine.handle(ev.Opened(), 0.0)
    [send] = machine.handle(ev.MarkerRead(4), 0.0)
    assert isinstance(send, fx.Send)
    assert [one.id for one in send.intents] == ["a", "c"]


def test_stopping_finishes_the_batch_and_gives_the_slot_back() -> None:
    machine = settled()
    machine.handle(ev.MarkerRead(4), 0.0)
    machine.handle(ev.Claimed([intent("a")]), 0.0)
    assert machine.handle(ev.Stop(), 0.0) == []
    assert machine.handle(ev.Sent(), 0.0) == [fx.MarkBatch(SLOT, 5)]
    assert machine.handle(ev.Marked(1), 0.0) == [fx.Release(SLOT)]
    assert machine.handle(ev.Released(), 0.0) == [fx.Finish()]
    assert machine.finished


def test_an_abandoned_batch_is_gone_after_between_two_batches() -> None:
    machine = settled()
    machine.handle(ev.MarkerRead(4), 0.0)
    machine.handle(ev.Claimed([]), 0.0)
    assert machine.handle(ev.Tick(), 3.0) == [fx.Renew(SLOT)]
    assert machine.handle(ev.Renewed(abandoned=True), 3.0) == [fx.Release(SLOT)]
    assert machine.handle(ev.Released(), 3.0) == [fx.LeaseSlot(take_back=False)]


def test_the_record_is_a_cloud_event_with_the_times_of_its_submission() -> None:
    one = Intent("id-1", "flights", 7, Payload(b"{}", (("content-type", b"application/json"),), 2), b"k", (("a", b"b"),), 1.5)
    record = request_of(one)
    assert (record.topic, record.key, record.value, record.timestamp_ms) == ("flights.requests", b"k", b"{}", 1500)
    assert record.headers == (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"id-1"),
        ("ce_source", b"/models/flights/predictions"),
        ("ce_type", b"dev.penstock.prediction.requested.v1"),
        ("ce_time", b"1970-01-01T00:00:01.500Z"),
        ("content-type", b"application/json"),
        ("a", b"b"),
    )
    assert marker_of("s", 12).key == b"s"
    assert number_of(marker_of("s", 12).value) == 12
    assert number_of(b"x") == number_of(None) == 0


class Scripted:
    """Intents and link at once: each call raises or gives what the script says, in order."""

    def __init__(self, **script: list[Any]) -> None:
        self.script = script
        self.calls: list[str] = []

    def play(self, name: str, otherwise: Any = None) -> Any:
        self.calls.append(name)
        found = (self.script.get(name) or [otherwise]).pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def lease(self, *_: Any, **__: Any) -> Lease:
        found: Lease = self.play("lease", Lease(SLOT, 0, False))
        return found

    async def claim(self, *_: Any) -> Any:
        return self.play("claim", ())

    async def load(self, *_: Any) -> Any:
        return self.play("load", ())

    async def mark(self, *_: Any) -> int:
        self.play("mark")
        return 1

    async def unclaim(self, *_: Any) -> None:
        self.play("unclaim")

    async def refuse(self, *_: Any) -> None:
        self.play("refuse")

    async def release(self, *_: Any) -> None:
        self.play("release")

    async def renew(self, *_: Any) -> bool:
        return bool(self.play("renew", False))

    def open(self, *_: Any) -> None:
        self.play("open")

    def restore(self) -> None:
        self.play("restore")

    def marker(self, *_: Any) -> int:
        return int(self.play("marker", 0))

    def send(self, *_: Any) -> None:
        self.play("send")

    def close_outlet(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ({"claim": [[intent("a")]]}, "lease open marker claim send mark claim"),
        ({"claim": [[intent("a")]], "send": [InDoubt("?")], "marker": [0, 1]}, "claim send restore marker mark claim"),
        ({"claim": [[intent("a")]], "send": [InDoubt("?")]}, "claim send restore marker send mark claim"),
        ({"claim": [[intent("a")]], "send": [Fenced("x")]}, "claim send lease open marker claim"),
        ({"claim": [[intent("a")]], "send": [TooLargeForTopic("x", at=0)]}, "claim send refuse restore marker mark claim"),
        ({"claim": [[intent("a")]], "send": [BrokerError("x")]}, "claim send restore marker unclaim claim"),
        ({"claim": [[intent("a")]], "mark": [UpstreamUnavailable("x")]}, "claim send mark mark claim"),
        ({"claim": [[intent("a")]], "mark": [Superseded("x")]}, "claim send mark lease open marker claim"),
        ({"claim": [ValueError("a fault of ours")]}, "lease open marker claim lease open marker claim"),
        ({"open": [BrokerError("away")]}, "lease open open marker claim"),
    ],
)
def test_the_shell_turns_errors_into_what_the_machine_knows(script: dict[str, Any], expected: str) -> None:
    async def case() -> Scripted:
        world: Any = Scripted(**script)
        machine = RelayMachine(RelayLimits(retry_s=0.001, retry_most_s=0.01))
        shell = RelayShell(machine, world, world, owner="a:1", lease_s=10.0)
        running = asyncio.create_task(shell.run())
        async with asyncio.timeout(10):
            while not (expected in " ".join(world.calls) and machine.deadline is not None):  # noqa: ASYNC110 - two threads call
                await asyncio.sleep(0.001)
            shell.stop()
            await running
        assert world.calls[-1] == "release"
        return world

    assert expected in " ".join(asyncio.run(case()).calls)


def test_many_words_of_submissions_are_one_look_and_each_later_one_is_another() -> None:
    async def case() -> list[str]:
        world: Any = Scripted()
        machine = RelayMachine(RelayLimits(sweep_s=1000.0, renew_s=1000.0))
        shell = RelayShell(machine, world, world, owner="a:1", lease_s=10.0)
        running = asyncio.create_task(shell.run())

        async def looked(times: int) -> None:
            while world.calls.count("claim") < times or machine.deadline is None:  # noqa: ASYNC110 - two threads call
                await asyncio.sleep(0.001)

        async with asyncio.timeout(10):
            await looked(1)
            for times in (2, 3):
                for _ in range(5):
                    shell.wake()
                await looked(times)
            shell.stop()
            await running
        return world.calls

    assert asyncio.run(case()).count("claim") == 3

"""What the sink's machine does, one case at a time: pauses, partitions that go, faults of either side, the end."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.sink import effects as fx
from penstock_transformer.sink import events as ev
from penstock_transformer.sink.machine import SinkLimits, SinkMachine

A, B = Partition("m.predictions", 0), Partition("m.predictions", 1)
ROOM = 100  # what a record takes beside its contents


def answered(offset: int, place: Partition = A, nbytes: int = 2) -> Record:
    """A prediction's record that takes `ROOM + nbytes`, and a few for its id."""
    return Record(place, offset, 0, None, b"x" * nbytes, (("ce_id", b"%d/%d" % (place.number, offset)),))


def foreign(offset: int, place: Partition = A) -> Record:
    """A record that ends no prediction."""
    return Record(place, offset, 0, None, b"hello")


class Driven:
    """A machine with partition A, and B if asked for; `tell` answers its effects."""

    def __init__(self, *places: Partition, **limits: Any) -> None:
        self.now = 0.0
        self.machine = SinkMachine(SinkLimits(**limits))
        self.tell(ev.Assigned(places or (A,)))

    def tell(self, event: ev.Event) -> list[fx.Effect]:
        return self.machine.handle(event, self.now)

    def polled(self, *records: Record) -> list[fx.Effect]:
        return self.tell(ev.Polled(records))

    def wait(self) -> list[fx.Effect]:
        """Until it wants to be woken; the seconds are in `waited`."""
        assert self.machine.deadline is not None
        self.waited = self.machine.deadline - self.now
        self.now = self.machine.deadline
        return self.tell(ev.Tick())


def ids(effects: Sequence[fx.Effect]) -> list[str]:
    """The predictions that the one Write among these ends."""
    [write] = [effect for effect in effects if isinstance(effect, fx.Write)]
    return [ending.id for ending in write.endings]


def offsets(effects: Sequence[fx.Effect]) -> dict[Partition, int]:
    """The offsets that the one Commit among these commits."""
    [commit] = [effect for effect in effects if isinstance(effect, fx.Commit)]
    return dict(commit.offsets)


def test_what_is_read_is_written_and_then_its_offset_committed() -> None:
    sink = Driven()
    assert ids(sink.polled(answered(4), answered(5))) == ["0/4", "0/5"]
    assert offsets(sink.tell(ev.Written(2, 0))) == {A: 6}
    assert sink.tell(ev.Committed()) == []
    assert (sink.machine.ended, sink.machine.held) == (2, 0)


def test_one_write_and_one_commit_at_a_time_and_what_comes_meanwhile_goes_into_the_next() -> None:
    sink = Driven()
    sink.polled(answered(0))
    assert sink.polled(answered(1), answered(2)) == []
    assert [type(effect) for effect in sink.tell(ev.Written(1, 0))] == [fx.Write, fx.Commit]
    assert sink.tell(ev.Written(2, 0)) == []
    assert offsets(sink.tell(ev.Committed())) == {A: 3}


class TestLimits:
    def test_a_write_is_bounded_in_records(self) -> None:
        assert ids(Driven(records=2).polled(*map(answered, range(5)))) == ["0/0", "0/1"]

    def test_a_write_is_bounded_in_bytes_but_takes_one(self) -> None:
        sink = Driven(nbytes=2 * ROOM)
        assert ids(sink.polled(answered(0, nbytes=500), answered(1), answered(2))) == ["0/0"]
        assert ids(sink.tell(ev.Written(1, 0))) == ["0/1"]

    def test_what_ends_nothing_is_passed_over_and_holds_nobody(self) -> None:
        sink = Driven(records=2)
        effects = sink.polled(foreign(0), foreign(1), foreign(2), answered(3))
        assert ids(effects) == ["0/3"]
        assert offsets(effects) == {A: 2}, "those that were passed over in full batches need not wait for the write"
        assert offsets(sink.tell(ev.Committed()) + sink.tell(ev.Written(1, 0))) == {A: 4}
        assert sink.machine.unreadable == 3

    @pytest.mark.parametrize("limits", [{"held_records": 2}, {"held_bytes": 3 * ROOM}])
    def test_reading_pauses_when_too_much_waits_and_goes_on_when_half_of_it_has_gone(self, limits: dict[str, int]) -> None:
        sink = Driven(records=1, **limits)
        sink.polled(answered(0))
        assert sink.polled(*map(answered, range(1, 5))) == [fx.Pause((A,))]
        resumed = 0
        while sink.machine.held:
            written = sink.tell(ev.Written(1, 0))
            resumed += fx.Resume((A,)) in written
        assert resumed == 1

    def test_a_partition_that_comes_while_reading_pauses_is_paused(self) -> None:
        sink = Driven(records=1, held_records=1)
        sink.polled(*map(answered, range(4)))
        assert sink.tell(ev.Assigned((B,))) == [fx.Pause((B,))]

    def test_what_could_not_be_written_takes_its_room_again(self) -> None:
        sink = Driven(held_bytes=10 * ROOM)
        sink.polled(answered(0, nbytes=8 * ROOM))
        sink.tell(ev.WriteFailed("away"))
        assert sink.polled(answered(1, nbytes=ROOM)) == [fx.Pause((A,))]


class TestPartitionsThatGo:
    def test_records_of_partitions_that_are_not_ours_are_left_to_others(self) -> None:
        assert Driven().polled(answered(0, B)) == []

    def test_what_waits_of_them_is_left_to_others(self) -> None:
        sink = Driven(A, B)
        sink.polled(answered(0))
        sink.polled(answered(0, B), answered(1))
        sink.tell(ev.Taken((B,)))
        assert ids(sink.tell(ev.Written(1, 0))) == ["0/1"]

    def test_what_is_being_written_of_them_is_not_committed(self) -> None:
        sink = Driven(A, B)
        sink.polled(answered(0, B))
        sink.tell(ev.Taken((B,)))
        assert sink.tell(ev.Written(1, 0)) == []

    def test_what_was_written_and_not_committed_is_not_committed_either(self) -> None:
        sink = Driven(A, B)
        sink.polled(answered(0))
        sink.polled(answered(0, B))
        sink.tell(ev.Written(1, 0))  # A's offset is being committed
        sink.tell(ev.Written(1, 0))
        sink.tell(ev.Taken((B,)))
        assert sink.tell(ev.Committed()) == []

    def test_a_commit_of_theirs_that_failed_is_not_made_again(self) -> None:
        sink = Driven(A, B)
        sink.polled(answered(0), answered(0, B))
        assert offsets(sink.tell(ev.Written(2, 0))) == {A: 1, B: 1}
        sink.tell(ev.Taken((B,)))
        sink.tell(ev.CommitFailed("away"))
        assert offsets(sink.wait()) == {A: 1}


class TestFaults:
    def test_a_write_that_failed_is_made_again_in_the_order_of_old_with_what_came_since(self) -> None:
        sink = Driven()
        sink.polled(answered(0), answered(1))
        assert sink.tell(ev.WriteFailed("away")) == []
        assert sink.machine.held_up
        assert sink.polled(answered(2)) == []
        assert ids(sink.wait()) == ["0/0", "0/1", "0/2"]
        assert not sink.machine.held_up

    @pytest.mark.parametrize("fault", [ev.WriteFailed("away"), ev.CommitFailed("away")])
    def test_the_wait_doubles_up_to_its_most_and_is_short_again_after_a_success(self, fault: ev.Event) -> None:
        sink = Driven(retry_s=1.0, retry_most_s=4.0)
        of_write = isinstance(fault, ev.WriteFailed)
        good: Callable[[], Any] = lambda: sink.tell(ev.Written(1, 0)) if of_write else sink.tell(ev.Committed())  # noqa: E731
        sink.polled(answered(0))
        if not of_write:
            sink.tell(ev.Written(1, 0))
        waits = []
        for _ in range(4):
            sink.tell(fault)
            sink.wait()
            waits.append(sink.waited)
        assert waits == [1.0, 2.0, 4.0, 4.0]
        good()
        sink.polled(answered(1))
        sink.tell(ev.Committed() if of_write else ev.Written(1, 0))
        sink.tell(fault)
        sink.wait()
        assert sink.waited == 1.0

    def test_a_commit_that_failed_is_made_again_with_what_came_since(self) -> None:
        sink = Driven()
        sink.polled(answered(0))
        sink.tell(ev.Written(1, 0))
        sink.tell(ev.CommitFailed("away"))
        sink.polled(answered(1))
        assert sink.tell(ev.Written(1, 0)) == []
        assert offsets(sink.wait()) == {A: 2}

    def test_one_that_is_refused_is_found_by_halves_and_left_behind(self) -> None:
        sink = Driven()
        effects = sink.polled(*map(answered, range(4)))
        written, bad = [], "0/2"
        while ids(effects) != [bad]:
            if bad in ids(effects):
                effects = sink.tell(ev.WriteRefused("wrong"))
            else:
                written += ids(effects)
                effects = sink.tell(ev.Written(len(ids(effects)), 0))
        effects = sink.tell(ev.WriteRefused("wrong"))
        assert written + ids(effects) == ["0/0", "0/1", "0/3"]
        assert sink.machine.refused == 1
        sink.tell(ev.Committed())
        assert offsets(sink.tell(ev.Written(1, 0)) + sink.tell(ev.Committed())) == {A: 4}

    def test_writes_grow_again_after_one_was_refused(self) -> None:
        sink = Driven(records=4)
        sink.polled(*map(answered, range(12)))
        assert len(ids(sink.tell(ev.WriteRefused("wrong")))) == 2
        assert len(ids(sink.tell(ev.Written(2, 0)))) == 4


class TestStopping:
    def test_what_was_read_is_written_and_committed_and_nothing_more_is_taken(self) -> None:
        sink = Driven()
        sink.polled(answered(0))
        assert sink.tell(ev.Stop()) == []
        assert sink.polled(answered(1)) == []
        assert offsets(sink.tell(ev.Written(1, 0))) == {A: 1}
        assert sink.tell(ev.Committed()) == [fx.Finish()]
        assert sink.machine.finished

    def test_with_nothing_to_do_it_ends_at_once(self) -> None:
        assert Driven().tell(ev.Stop()) == [fx.Finish()]

    def test_a_database_that_is_away_is_not_waited_for(self) -> None:
        sink = Driven()
        sink.polled(answered(0))
        sink.tell(ev.WriteFailed("away"))
        assert sink.tell(ev.Stop()) == [fx.Finish()]

    def test_a_database_that_goes_meanwhile_is_not_waited_for(self) -> None:
        sink = Driven()
        sink.polled(answered(0))
        sink.tell(ev.Stop())
        assert sink.tell(ev.WriteFailed("away")) == [fx.Finish()]

    def test_offsets_that_cannot_be_committed_are_read_again_by_others(self) -> None:
        sink = Driven()
        sink.polled(answered(0))
        sink.tell(ev.Written(1, 0))
        sink.tell(ev.Stop())
        assert sink.tell(ev.CommitFailed("away")) == [fx.Finish()]

    def test_a_commit_that_waits_for_its_next_try_has_that_try(self) -> None:
        sink = Driven()
        sink.polled(answered(0))
        sink.tell(ev.Written(1, 0))
        sink.tell(ev.CommitFailed("away"))
        assert sink.tell(ev.Stop()) == []
        assert offsets(sink.wait()) == {A: 1}
        assert sink.tell(ev.Committed()) == [fx.Finish()]

"""What is held is bounded, in records and bytes, and no partition takes another's room."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.worker import effects, events
from penstock_transformer.worker.entries import Entry, PartitionQueue
from penstock_transformer.worker.room import Room

A, B = Partition("m.requests", 0), Partition("m.requests", 1)


def test_a_partition_that_holds_much_is_paused_and_resumed_when_it_has_gone_down(make: Any) -> None:
    driven = make(held_records=10)
    driven.assign(A, B)
    records = driven.poll(6, A)
    assert driven.last(effects.Pause).partitions == [A]
    driven.answer(*records)
    driven.tell(events.CommitDone())
    assert driven.last(effects.Resume).partitions == [A]


def test_a_slow_partition_leaves_the_others_theirs(make: Any) -> None:
    driven = make(held_records=10)
    driven.assign(A, B)
    driven.poll(10, A)
    driven.answer(*driven.poll(1, B))
    assert [partition for pause in driven.all(effects.Pause) for partition in pause.partitions] == [A]


def test_a_pause_that_is_still_on_its_way_when_the_partition_comes_back_does_not_outlast_it(make: Any) -> None:
    driven = make(held_records=4)
    driven.assign(A)
    driven.poll(4, A)
    driven.tell(events.Lost((A,)))
    driven.assign(A)
    asked = [effect for effect in driven.effects if isinstance(effect, effects.Pause | effects.Resume)]
    assert isinstance(asked[-1], effects.Resume)
    assert list(asked[-1].partitions) == [A]


def test_bytes_are_bounded_too(make: Any) -> None:
    driven = make(held_bytes=2000)
    driven.assign()
    driven.poll(1, value=b"v" * 1500)
    assert driven.last(effects.Pause).partitions == [A]


def queue_of(number: int, count: int) -> PartitionQueue:
    queue = PartitionQueue(Partition("t", number))
    for offset in range(count):
        queue.waiting.append(Entry(Record(queue.partition, offset, 0, None, None), queue, 100))
        queue.nbytes += 100
    return queue


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(2, 60))
def test_one_that_holds_nothing_is_never_paused_and_all_full_ones_are(held: list[int], bound: int) -> None:
    queues = [queue_of(number, count) for number, count in enumerate(held)]
    Room(bound, 10**9).changes(queues, closed=False)
    for queue in queues:
        if not len(queue):
            assert not queue.paused
        if len(queue) > bound:
            assert queue.paused
    if sum(held) >= bound:
        assert all(queue.paused for queue in queues if len(queue) > bound / (2 * len(queues)))

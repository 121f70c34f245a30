"""Where partitions are read from, on a consumer and a group's offsets in memory."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from penstock.testing.waiting import until
from penstock_transformer.broker.confluent.places import Places
from penstock_transformer.broker.port import Retriable
from penstock_transformer.broker.records import Partition

A, B, C, D = (Partition("in", number) for number in range(4))


class FakeConsumer:
    """Says what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.not_ready = 0

    def get_watermark_offsets(self, place: TopicPartition, *, cached: bool) -> tuple[int, int]:
        assert cached
        return -1001, -1001

    def incremental_assign(self, places: Sequence[TopicPartition]) -> None:
        self.told += [("assigned", (place.partition, place.offset)) for place in places]

    def pause(self, places: Sequence[TopicPartition]) -> None:
        self.told += [("paused", place.partition) for place in places]

    def resume(self, places: Sequence[TopicPartition]) -> None:
        self.told += [("resumed", place.partition) for place in places]

    def seek(self, place: TopicPartition) -> None:
        if self.not_ready:
            self.not_ready -= 1
            raise KafkaException(KafkaError(KafkaError._STATE))
        self.told.append(("sought", (place.partition, place.offset)))


class FakeOffsets:
    """`of` waits until `let` lets it answer; of what is asked for together nothing is told if one is among `open`."""

    def __init__(self) -> None:
        self.stand: dict[Partition, int | None] = {}
        self.open: set[Partition] = set()
        self.asked: list[list[Partition]] = []
        self.let = threading.Event()
        self.let.set()

    def of(self, partitions: Sequence[Partition], within_s: float) -> dict[Partition, int | None]:
        self.asked.append(list(partitions))
        found = {partition: self.stand.get(partition) for partition in partitions}
        self.let.wait()
        if self.open & set(partitions):
            raise Retriable("a transaction is open")
        return found


class Bed:
    def __init__(self) -> None:
        self.consumer, self.offsets = FakeConsumer(), FakeOffsets()
        self.places = Places(self.consumer, self.offsets, 30.0)  # type: ignore[arg-type]

    def settled(self, *told: tuple[str, Any]) -> None:
        """Settle until all this has been told."""

        def done() -> bool:
            self.places.settle()
            return set(told) <= set(self.consumer.told)

        until(done, 20.0, lambda: str(self.consumer.told))

    def asked(self, times: int) -> None:
        """Settle until so many questions have been asked."""
        until(lambda: self.places.settle() or len(self.offsets.asked) >= times, 20.0)


@pytest.fixture
def bed() -> Iterator[Bed]:
    made = Bed()
    yield made
    made.offsets.let.set()
    made.places.close()


def test_comes_paused_at_a_number_then_is_read_from_where_the_group_stands(bed: Bed) -> None:
    bed.offsets.stand = {A: 7}
    bed.places.come([A, B])
    assert bed.consumer.told == [("paused", 0), ("paused", 1), ("assigned", (0, 0)), ("assigned", (1, 0))]
    bed.settled(("resumed", 0), ("resumed", 1))
    assert bed.consumer.told[4:] == [("sought", (0, 7)), ("sought", (1, 0)), ("resumed", 0), ("resumed", 1)]
    # Nothing is asked for any more.
    bed.places.settle()
    assert bed.offsets.asked == [[A, B]]


def test_one_that_is_not_known_keeps_no_other_waiting(bed: Bed) -> None:
    bed.offsets.open = {B}
    bed.offsets.stand = {A: 1, B: 2, C: 3, D: 4}
    bed.places.come([A, B, C, D])
    bed.settled(("resumed", 0), ("resumed", 2), ("resumed", 3))
    assert ("resumed", 1) not in bed.consumer.told
    bed.offsets.open = set()
    bed.settled(("sought", (1, 2)), ("resumed", 1))


def test_what_went_while_it_was_asked_for_is_left_alone(bed: Bed) -> None:
    bed.offsets.let.clear()
    bed.places.come([A, B])
    bed.asked(1)
    bed.places.go([A])
    bed.offsets.let.set()
    bed.settled(("resumed", 1))
    assert not {("sought", (0, 0)), ("resumed", 0)} & set(bed.consumer.told)


def test_what_came_back_meanwhile_is_asked_for_anew(bed: Bed) -> None:
    """Another member may have gone on in between."""
    bed.offsets.let.clear()
    bed.offsets.stand = {A: 5}
    bed.places.come([A])
    bed.asked(1)
    bed.places.go([A])
    bed.places.come([A])
    bed.offsets.stand = {A: 9}
    bed.offsets.let.set()
    bed.settled(("resumed", 0))
    assert [what for what in bed.consumer.told if what[0] == "sought"] == [("sought", (0, 9))]


def test_a_pause_outlasts_the_wait_for_a_place(bed: Bed) -> None:
    bed.offsets.let.clear()
    bed.places.come([A, B])
    bed.places.pause([A, B, C])
    bed.places.resume([B])
    assert ("resumed", 1) not in bed.consumer.told
    bed.offsets.let.set()
    bed.settled(("sought", (0, 0)), ("resumed", 1))
    assert ("resumed", 0) not in bed.consumer.told
    bed.places.resume([A, C])
    assert bed.consumer.told[-1] == ("resumed", 0)


def test_what_is_sought_meanwhile_is_read_from_there(bed: Bed) -> None:
    bed.offsets.let.clear()
    bed.offsets.stand = {A: 5, B: 5}
    bed.places.come([A, B])
    bed.asked(1)
    bed.places.seek(A, 3)
    bed.offsets.let.set()
    bed.settled(("resumed", 1))
    assert [what for what in bed.consumer.told if what[0] == "sought"] == [("sought", (0, 3)), ("sought", (1, 5))]
    assert bed.consumer.told.count(("resumed", 0)) == 1


def test_a_seek_waits_until_it_can_be_done(bed: Bed) -> None:
    bed.consumer.not_ready = 2
    bed.places.come([A])
    bed.places.seek(A, 3)
    assert bed.consumer.told[-2:] == [("sought", (0, 3)), ("resumed", 0)]
    bed.places.go([A])
    bed.places.seek(A, 4)
    assert ("sought", (0, 4)) not in bed.consumer.told


def test_a_place_that_cannot_be_taken_yet_is_taken_later(bed: Bed) -> None:
    bed.consumer.not_ready = 3
    bed.places.come([A])
    bed.settled(("sought", (0, 0)), ("resumed", 0))


def test_back_leaves_what_has_no_place_yet(bed: Bed) -> None:
    bed.places.come([A])
    bed.settled(("resumed", 0))
    bed.offsets.let.clear()
    bed.places.come([B])
    bed.places.back({A: 2, B: 2, C: 2})
    assert bed.consumer.told[-1] == ("sought", (0, 2))


def test_waiting_for_long_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    bed = Bed()
    bed.places = Places(bed.consumer, bed.offsets, 0.0)  # type: ignore[arg-type]
    bed.offsets.open = {A}
    bed.places.come([A])
    bed.asked(4)
    assert [record.message for record in caplog.records] == ["offsets of partitions are not known yet"]
    bed.places.close()

"""Where a member begins to read: offsets that a transaction is still open on, because who wrote them hangs or was killed, and
partitions that come later. Each test runs with both clients."""

import time
from typing import Any

import confluent_kafka as ck
import pytest

from penstock_transformer.broker.records import OutRecord, Partition, Record


class Owner:
    """Who had the partitions before, and is about to commit an offset."""

    def __init__(self, bed: Any, topic: str, committed: int, open_at: int) -> None:
        kafka = {"bootstrap.servers": bed.kafka.bootstrap}
        self._consumer = ck.Consumer(kafka | {"group.id": bed.group})
        self._producer = ck.Producer(kafka | {"transactional.id": f"{bed.name}-owner", "transaction.timeout.ms": 60_000})
        self._producer.init_transactions(30)
        self._send([ck.TopicPartition(topic, number, committed) for number in range(2)])
        self.end(commit=True)
        self._send([ck.TopicPartition(topic, 0, open_at)])

    def _send(self, offsets: list[ck.TopicPartition]) -> None:
        self._producer.begin_transaction()
        self._producer.send_offsets_to_transaction(offsets, self._consumer.consumer_group_metadata(), 30)

    def end(self, *, commit: bool) -> None:
        (self._producer.commit_transaction if commit else self._producer.abort_transaction)(30)

    def close(self) -> None:
        self._consumer.close()


@pytest.mark.parametrize("commit", [True, False])
def test_are_waited_for_though_the_assignment_changes_meanwhile(bed: Any, helpers: Any, commit: bool) -> None:
    source = bed.topic("in", partitions=2)
    bed.producer().send([record for number in range(2) for record in helpers.records_of(source, 6, partition=number)])
    owner = Owner(bed, source, committed=2, open_at=4)
    seen: list[Record] = []
    first, one = bed.intake(), helpers.Members()
    first.subscribe([source], one)

    def offsets(number: int) -> list[int]:
        return [record.offset for record in seen if record.partition == Partition(source, number)]

    def read(*intakes: Any) -> bool:
        for intake in intakes:
            seen.extend(intake.poll(0.1, 100))
        return True

    try:
        helpers.until(lambda: read(first) and len(one.owned) == 2)
        second, two = bed.intake(bed.make(kafka_instance=f"{bed.name}-second")), helpers.Members()
        second.subscribe([source], two)
        helpers.until(lambda: read(first, second) and len(one.owned) == len(two.owned) == 1)
        assert offsets(0) == []
        owner.end(commit=commit)
        helpers.until(lambda: read(first, second) and offsets(0)[-1:] == [5])
        assert offsets(0) == list(range(4 if commit else 2, 6))
        assert offsets(1)[:4] == [2, 3, 4, 5]
    finally:
        owner.close()


# kafka-python reads none of the partitions that came together until it knows where all of them stand.
@pytest.mark.parametrize("client", ["confluent"])
def test_hold_up_neither_the_other_partitions_nor_a_pause(bed: Any, helpers: Any) -> None:
    source = bed.topic("in", partitions=2)
    waits, other = Partition(source, 0), Partition(source, 1)
    bed.producer().send([record for number in range(2) for record in helpers.records_of(source, 6, partition=number)])
    owner = Owner(bed, source, committed=2, open_at=4)
    intake, members = bed.intake(), helpers.Members()
    intake.subscribe([source], members)
    try:
        assert {record.partition for record in helpers.take(intake, 4)} == {other}
        intake.pause([waits, other])
        owner.end(commit=True)
        helpers.until(lambda: helpers.polled(intake) and intake.committed([waits]) == {waits: 4})
        intake.resume([waits, other])
        assert [record.offset for record in helpers.take(intake, 2)] == [4, 5]
    finally:
        owner.close()


def test_a_partition_that_comes_later_is_read_from_where_its_last_owner_stood(bed: Any, helpers: Any) -> None:
    """Its new owner has others that are quiet: what it asks their broker for is answered late, for a fetch is waiting there."""
    source = bed.topic("in", partitions=8)
    producer = bed.producer()
    producer.send([record for number in range(8) for record in helpers.records_of(source, 3, partition=number)])
    first, one = bed.intake(), helpers.Members()
    second, two = bed.intake(bed.make(kafka_instance=f"{bed.name}-second")), helpers.Members()
    outlet = bed.outlet()
    seen: list[Record] = []

    def read(*intakes: Any) -> bool:
        for intake in intakes:
            found = intake.poll(0.1, 100)
            seen.extend(found)
            if found:
                outlet.commit([], {record.partition: record.offset + 1 for record in found}, intake.group())
        return True

    second.subscribe([source], two)
    helpers.until(lambda: read(second) and len(two.owned) == 8 and len(seen) == 24)
    first.subscribe([source], one)
    helpers.until(lambda: read(first, second) and len(one.owned) == len(two.owned) == 4)
    # The first reads its own for longer than a fetch waits; of the others it has read nothing.
    for number in range(8):
        producer.send([OutRecord(source, b"k", b"more", partition=number)])
        helpers.until(lambda: read(first, second) and len(seen) == 25 + number)  # noqa: B023
    second.close()
    helpers.until(lambda: read(first) and len(one.owned) == 8)
    for number in range(8):
        producer.send([OutRecord(source, b"k", b"last", partition=number)])
    helpers.until(lambda: read(first) and sum(record.value == b"last" for record in seen) >= 8)
    # librdkafka may look for the beginning once more half a second after it was told where to read.
    until = time.monotonic() + 1.5
    helpers.until(lambda: read(first) and time.monotonic() > until)
    assert sorted((record.partition.number, record.offset) for record in seen) == [(p, o) for p in range(8) for o in range(5)]

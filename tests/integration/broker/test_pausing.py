"""Partitions that are paused and resumed while records of both lie fetched: none is left lying there."""

from random import Random
from typing import Any

from penstock_transformer.broker.records import OutRecord, Partition

COUNT = 6000


def test_what_was_fetched_of_a_paused_partition_comes_when_it_is_resumed(bed: Any, helpers: Any) -> None:
    topic = bed.topic("in", 2)
    bed.producer().send([OutRecord(topic, None, b"%d" % n, partition=n % 2) for n in range(COUNT)])
    # What it reads until both partitions are its own is read again.
    intake, members = bed.joined(topic)

    def has_both() -> bool:
        intake.poll(0.1, 1)
        return len(members.owned) == 2

    helpers.until(has_both)
    for partition in members.owned:
        intake.seek(partition, 0)
    random, paused, seen = Random(1), set[Partition](), list[bytes | None]()

    def one_step() -> bool:
        seen.extend(record.value for record in intake.poll(0.1, 100))
        for partition in sorted(members.owned):
            if partition in paused:
                intake.resume([partition])
                paused.discard(partition)
            elif random.random() < 0.5:
                intake.pause([partition])
                paused.add(partition)
        return len(seen) >= COUNT

    helpers.until(one_step)
    assert sorted(int(value or b"-1") for value in seen) == list(range(COUNT))

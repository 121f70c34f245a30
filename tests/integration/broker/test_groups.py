"""Members of a group: who has which partitions, and what a member is told of it. Each test runs with both clients."""

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from penstock_transformer.broker.records import OutRecord, Partition


def test_two_members_share_and_what_stays_is_never_revoked(bed: Any, helpers: Any) -> None:
    """In mid-batch: the first member's records are out while the second joins."""
    source = bed.topic("in", partitions=4)
    bed.producer().send([record for number in range(4) for record in helpers.records_of(source, 3, partition=number)])
    first, one = bed.joined(source)
    helpers.until(lambda: bool(first.poll(0.2, 100) or len(one.owned) == 4))
    second = bed.intake(bed.make(kafka_instance=f"{bed.name}-second"))
    two = helpers.Members()
    second.subscribe([source], two)
    one.clear()

    def shared() -> bool:
        first.poll(0.1, 100)
        second.poll(0.1, 100)
        return len(one.owned) == 2 and len(two.owned) == 2

    helpers.until(shared)
    assert one.owned.isdisjoint(two.owned)
    assert one.named("revoked") == two.owned
    assert not one.named("lost") | two.named("lost") | two.named("revoked")
    assert one.named("assigned") == set()
    # The second is gone for good: what it had comes back once its session has run out.
    second.close()
    helpers.until(lambda: helpers.polled(first) and bool(len(one.owned) == 4))


def test_a_static_member_restarts_without_a_rebalance(bed: Any, helpers: Any) -> None:
    source = bed.topic("in", partitions=2)
    first, one = bed.joined(source)
    settings = bed.make(kafka_instance=f"{bed.name}-second")
    second = bed.intake(settings)
    two = helpers.Members()
    second.subscribe([source], two)

    def shared() -> bool:
        first.poll(0.1, 100)
        second.poll(0.1, 100)
        return len(one.owned) == 1 and len(two.owned) == 1

    helpers.until(shared)
    had = set(two.owned)
    one.clear()
    second.close()
    second = bed.intake(settings)
    again = helpers.Members()
    second.subscribe([source], again)

    def back() -> bool:
        first.poll(0.1, 100)
        second.poll(0.1, 100)
        return bool(again.owned)

    helpers.until(back)
    assert again.owned == had
    assert one == []


def test_new_partitions_are_noticed(bed: Any, helpers: Any) -> None:
    source = bed.topic("in")
    intake, members = bed.joined(source)
    bed.kafka.console("kafka-topics", "--alter", "--topic", source, "--partitions", "3")
    helpers.until(lambda: helpers.polled(intake) and bool(len(members.owned) == 3))
    bed.outlet().commit([OutRecord(source, b"k", b"new", partition=2)], {}, None)
    (record,) = helpers.take(intake, 1)
    assert (record.partition, record.value) == (Partition(source, 2), b"new")


def test_a_member_that_does_not_poll_leaves_and_loses_its_partitions(bed: Any, helpers: Any) -> None:
    source = bed.topic("in")
    lazy, one = bed.joined(source, bed.make(kafka_poll_interval_s=6.0))
    other = bed.intake(bed.make(kafka_instance=f"{bed.name}-other"))
    two = helpers.Members()
    other.subscribe([source], two)
    helpers.until(lambda: helpers.polled(other) and bool(two.owned))
    helpers.until(lambda: helpers.polled(lazy) and bool(one.named("lost")))


def test_a_poll_that_waits_is_woken(bed: Any, helpers: Any) -> None:
    source = bed.topic("in")
    intake, _ = bed.joined(source)
    for paused in (False, True):
        if paused:
            intake.pause([Partition(source, 0)])
        threading.Timer(0.2, intake.wake).start()
        begun = time.monotonic()
        assert intake.poll(60, 10) == []
        assert time.monotonic() - begun < 30


def test_paused_partitions_keep_their_records_and_nothing_is_lost(bed: Any, helpers: Any) -> None:
    source = bed.topic("in", partitions=2)
    intake, members = bed.joined(source)
    helpers.until(lambda: helpers.polled(intake) and bool(len(members.owned) == 2))
    intake.pause([Partition(source, 0)])
    bed.producer().send([*helpers.records_of(source, 5, partition=0), *helpers.records_of(source, 5, start=5, partition=1)])
    assert {record.partition.number for record in helpers.take(intake, 5)} == {1}
    assert intake.poll(0.3, 10) == []
    intake.resume([Partition(source, 0), Partition("not.ours", 0)])
    assert [record.value for record in helpers.take(intake, 5)] == [b"v0", b"v1", b"v2", b"v3", b"v4"]


def test_seek_reads_again(bed: Any, helpers: Any) -> None:
    source = bed.topic("in")
    bed.producer().send(helpers.records_of(source, 4))
    intake, _ = bed.joined(source)
    assert len(helpers.take(intake, 4)) == 4
    intake.seek(Partition(source, 0), 2)
    assert [record.offset for record in helpers.take(intake, 2)] == [2, 3]
    assert intake.ends([Partition(source, 0)]) == {Partition(source, 0): 4}


def test_what_a_part_raises_when_told_comes_out_of_poll(bed: Any, helpers: Any) -> None:
    source = bed.topic("in")

    class Refusing(helpers.Members):  # type: ignore[misc, name-defined]
        def assigned(self, partitions: Any) -> None:
            raise ZeroDivisionError(partitions)

    intake = bed.intake()
    intake.subscribe([source], Refusing())
    raised = []

    def fails() -> bool:
        try:
            intake.poll(0.2, 1)
        except ZeroDivisionError as error:
            raised.append(error)
        return bool(raised)

    helpers.until(fails)


def test_a_topic_that_comes_later_is_joined(bed: Any, helpers: Any) -> None:
    intake = bed.intake()
    members = helpers.Members()
    name = f"{bed.name}.late"
    intake.subscribe([name], members)
    assert intake.poll(0.5, 1) == []
    bed.topic("late")
    helpers.until(lambda: helpers.polled(intake) and bool(members.owned))


def test_at_least_once_writes_then_commits(bed: Any, helpers: Any) -> None:
    from penstock_transformer.broker.opening import open_at_least_once

    source, target = bed.topic("in"), bed.topic("out")
    bed.producer().send(helpers.records_of(source, 2))
    intake, _ = bed.joined(source)
    taken = helpers.take(intake, 2)
    outlet = open_at_least_once(bed.settings)
    outlet.open()
    try:
        outlet.commit([OutRecord(target, r.key, r.value) for r in taken], {Partition(source, 0): 2}, intake.group())
        assert intake.committed([Partition(source, 0)]) == {Partition(source, 0): 2}
        assert bed.visible(target) == [b"v0", b"v1"]
        outlet.restore()
        outlet.commit(helpers.records_of(target, 1, start=2), {}, None)
        assert bed.visible(target) == [b"v0", b"v1", b"v2"]
    finally:
        outlet.close()


def test_offsets_are_committed_while_another_thread_polls_without_a_pause(bed: Any, helpers: Any) -> None:
    """Nor does a poll that waits, which is many short ones, keep a commit from ending."""
    topic = bed.topic("in")
    bed.producer().send(helpers.records_of(topic, 100))
    intake, members = bed.joined(topic)
    (partition,) = members.owned
    membership = intake.group()
    with ThreadPoolExecutor(1) as outlet:
        commits = outlet.submit(lambda: [membership.commit({partition: offset}) for offset in range(1, 21)])

        def ended() -> bool:
            intake.poll(5.0, 1000)
            return commits.done()

        helpers.until(ended)
        commits.result()
    assert intake.committed([partition]) == {partition: 20}


def test_foreign_clients_read_and_write_our_topics(bed: Any, helpers: Any) -> None:
    """kcat and Kafka's own console tools, and their idea of a key's partition."""
    source = bed.topic("in", partitions=5)
    kcat = ["kcat", "-b", bed.kafka.bootstrap, "-t", source]
    subprocess.run([*kcat, "-P", "-K:", "-H", "ce_id=one", "-p", "0"], input=b"k:from kcat", check=True, timeout=60)
    keys = [f"key-{number}" for number in range(20)]
    lines = "".join(f"{key}:java\n" for key in keys)
    properties = ["--property", "parse.key=true", "--property", "key.separator=:"]
    bed.kafka.console("kafka-console-producer", "--topic", source, *properties, input=lines)
    bed.producer().send([OutRecord(source, key.encode(), b"ours") for key in keys])
    records = list(bed.reader().read(source))
    placed: dict[bytes, set[int]] = {}
    for record in records:
        if record.value in (b"java", b"ours"):
            placed.setdefault(record.key, set()).add(record.partition.number)
    assert len(placed) == 20
    assert all(len(numbers) == 1 for numbers in placed.values())
    (foreign,) = [record for record in records if record.value == b"from kcat"]
    assert foreign.header("ce_id") == b"one"
    read = subprocess.run([*kcat, "-C", "-e", "-q", "-f", "%k=%s\n"], capture_output=True, check=True, timeout=60).stdout
    assert read.count(b"=ours\n") == 20


def test_every_field_of_a_record_comes_through(bed: Any, helpers: Any) -> None:
    target = bed.topic("out")
    headers = (("a", b"1"), ("a", b"\xff\x00"), ("empty", b""))
    records = [
        OutRecord(target, b"key", b"value", headers, 0, 1_700_000_000_123),
        OutRecord(target, None, b"", ()),
        OutRecord(target, b"", None),
        OutRecord(target, None, None),
    ]
    bed.outlet().commit(records, {}, None)
    intake, _ = bed.joined(target)
    first, second, third, fourth = helpers.take(intake, 4)
    assert (first.key, first.value, first.headers, first.timestamp_ms) == (b"key", b"value", headers, 1_700_000_000_123)
    assert (second.key, second.value, second.headers) == (None, b"", ())
    assert (third.key, third.value) == (b"", None)
    assert (fourth.key, fourth.value) == (None, None)
    assert abs(second.timestamp_ms - time.time() * 1000) < 600_000

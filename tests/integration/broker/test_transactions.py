"""Records and offsets that go together: all or nothing, whoever dies. Each test runs with both clients."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from penstock_transformer.broker.port import BrokerError, Fenced, InDoubt, Rebalanced, Retriable, TooLargeForTopic
from penstock_transformer.broker.records import OutRecord, Partition


def test_what_is_committed_is_seen_with_its_offsets(bed: Any, helpers: Any) -> None:
    source, target = bed.topic("in"), bed.topic("out")
    bed.producer().send(helpers.records_of(source, 5))
    intake, _ = bed.joined(source)
    taken = helpers.take(intake, 5)
    assert [record.value for record in taken] == [b"v0", b"v1", b"v2", b"v3", b"v4"]
    outlet = bed.outlet()
    outlet.commit([OutRecord(target, record.key, record.value) for record in taken[:3]], {taken[2].partition: 3}, intake.group())
    assert bed.settled(target) == [b"v0", b"v1", b"v2"]
    # A moment after the commit was answered: its end is still to be marked on the offsets.
    helpers.until(lambda: intake.committed([Partition(source, 0)]) == {Partition(source, 0): 3})
    assert bed.admin().committed(bed.group, [Partition(source, 0)]) == {Partition(source, 0): 3}
    outlet.commit([OutRecord(target, record.key, record.value) for record in taken[3:]], {taken[2].partition: 5}, intake.group())
    assert bed.settled(target) == [b"v0", b"v1", b"v2", b"v3", b"v4"]


def test_a_commit_without_offsets_and_one_without_records(bed: Any, helpers: Any) -> None:
    source, target = bed.topic("in"), bed.topic("out")
    intake, _ = bed.joined(source)
    outlet = bed.outlet()
    outlet.commit(helpers.records_of(target, 2), {}, None)
    outlet.commit([], {Partition(source, 0): 0}, intake.group())
    assert bed.settled(target) == [b"v0", b"v1"]
    helpers.until(lambda: intake.committed([Partition(source, 0)]) == {Partition(source, 0): 0})


def test_a_killed_process_with_an_open_transaction_is_succeeded_at_once(bed: Any, helpers: Any) -> None:
    target = bed.topic("out")
    child = bed.child("open_transaction.py", target, "3")
    assert child.stdout.readline() == "written\n"
    child.send_signal(signal.SIGKILL)
    # The transaction's time-out is a minute, and so was the readers' wait: the successor ends it when it takes over.
    outlet = bed.outlet()
    outlet.commit([OutRecord(target, b"k", b"mine")], {}, None)
    assert bed.settled(target) == [b"mine"]


def test_a_zombie_by_transactional_id_is_fenced(bed: Any, helpers: Any) -> None:
    target = bed.topic("out")
    zombie = bed.outlet()
    zombie.commit([OutRecord(target, b"k", b"before")], {}, None)
    outlet = bed.outlet()
    with pytest.raises(Fenced):
        zombie.commit([OutRecord(target, b"k", b"zombie")], {}, None)
    outlet.commit([OutRecord(target, b"k", b"after")], {}, None)
    assert bed.settled(target) == [b"before", b"after"]


def test_transactions_that_take_turns_follow_at_once_and_in_order(bed: Any, helpers: Any) -> None:
    source, target = bed.topic("in"), bed.topic("out")
    intake, _ = bed.joined(source)
    outlet = bed.alternating()
    for number in range(20):
        outlet.commit([OutRecord(target, b"k", b"v%d" % number)], {Partition(source, 0): number + 1}, intake.group())
    assert bed.settled(target) == [b"v%d" % number for number in range(20)]
    assert intake.committed([Partition(source, 0)]) == {Partition(source, 0): 20}


@pytest.mark.parametrize("before", [0, 1])
def test_who_takes_turns_is_fenced_whoever_is_next(bed: Any, helpers: Any, before: int) -> None:
    target = bed.topic("out")
    zombie = bed.alternating()
    zombie.commit([OutRecord(target, b"k", b"a")], {}, None)
    if before:
        zombie.commit([OutRecord(target, b"k", b"b")], {}, None)
    successor = bed.alternating()
    with pytest.raises(Fenced):
        zombie.commit([OutRecord(target, b"k", b"zombie")], {}, None)
    successor.commit([OutRecord(target, b"k", b"after")], {}, None)
    assert bed.settled(target) == [*[b"a", b"b"][: 1 + before], b"after"]


def test_a_zombie_by_generation_is_fenced_and_its_producer_works_on(bed: Any, helpers: Any) -> None:
    source, target = bed.topic("in"), bed.topic("out")
    bed.producer().send(helpers.records_of(source, 1))
    first, _ = bed.joined(source)
    stale = first.group()
    outlet = bed.outlet()
    _outdate(
        bed, helpers, first, source, lambda: outlet.commit([OutRecord(target, b"k", b"zombie")], {Partition(source, 0): 1}, stale)
    )
    seen = bed.settled(target)
    outlet.commit([OutRecord(target, b"k", b"fresh")], {Partition(source, 0): 1}, first.group())
    assert bed.settled(target) == [*seen, b"fresh"]


def test_offsets_of_an_aborted_transaction_do_not_come_with_the_next(bed: Any, helpers: Any) -> None:
    source, target = bed.topic("in", partitions=2), bed.topic("out")
    one, other = Partition(source, 0), Partition(source, 1)
    intake, _ = bed.joined(source)
    stale = intake.group()
    outlet = bed.outlet()
    _outdate(bed, helpers, intake, source, lambda: outlet.commit([], {other: 1}, stale))
    with pytest.raises(Rebalanced):
        outlet.commit([OutRecord(target, b"k", b"aborted")], {one: 1}, stale)
    outlet.commit([OutRecord(target, b"k", b"kept")], {other: 1}, intake.group())
    assert bed.settled(target) == [b"kept"]
    assert intake.committed([one, other]) == {one: None, other: 1}


def _outdate(bed: Any, helpers: Any, intake: Any, topic: str, commit: Callable[[], None]) -> None:
    """Have another member join, until the group's generation has grown and `commit` is refused for it."""
    second = bed.intake(bed.make(kafka_instance=f"{bed.name}-second"))
    second.subscribe([topic], helpers.Members())

    def refused() -> bool:
        second.poll(0.1, 1)
        intake.poll(0.1, 1)
        try:
            commit()
        except Rebalanced:
            return True
        return False

    helpers.until(refused)


def test_a_record_over_the_topics_limit_names_itself_and_spoils_nothing(bed: Any, helpers: Any) -> None:
    target = bed.topic("out", max_message_bytes="300000")
    outlet = bed.outlet()
    records = [OutRecord(target, b"k", b"a"), OutRecord(target, b"k", b"x" * 400_000), OutRecord(target, b"k", b"b")]
    with pytest.raises(TooLargeForTopic) as caught:
        outlet.commit(records, {}, None)
    assert caught.value.at == 1
    assert not caught.value.retryable
    outlet.commit([records[0], records[2]], {}, None)
    assert bed.settled(target) == [b"a", b"b"]


def test_a_record_over_our_own_limit_names_itself(bed: Any) -> None:
    target = bed.topic("out")
    small = bed.make(kafka_record_mb=0.05)
    outlet = bed.outlet(small)
    records = [OutRecord(target, b"k", b"a"), OutRecord(target, b"k", b"x" * 200_000)]
    with pytest.raises(TooLargeForTopic) as caught:
        outlet.commit(records, {}, None)
    assert caught.value.at == 1
    outlet.commit(records[:1], {}, None)
    with pytest.raises(TooLargeForTopic) as caught:
        bed.producer(small).send(records)
    assert caught.value.at == 1


def test_a_producer_goes_on_after_a_record_that_is_too_large(bed: Any) -> None:
    target = bed.topic("out", partitions=2, max_message_bytes="300000")
    producer = bed.producer()
    producer.send([OutRecord(target, b"k", b"a", partition=0)])
    for large in (1, 3):
        records = [OutRecord(target, b"k", b"b", partition=number % 2) for number in range(4)]
        records[large] = OutRecord(target, b"k", b"x" * 400_000, partition=0)
        with pytest.raises(TooLargeForTopic) as caught:
            producer.send(records)
        assert caught.value.at == large
        producer.send([OutRecord(target, b"k", b"c", partition=0)])
    values = bed.visible(target)
    assert set(values) <= {b"a", b"b", b"c"}
    assert (values.count(b"a"), values.count(b"c")) == (1, 2)


def test_an_unknown_topic_is_an_error_that_waiting_does_not_mend(bed: Any) -> None:
    target = bed.topic("out")
    outlet = bed.outlet()
    with pytest.raises(BrokerError, match="does not exist") as caught:
        outlet.commit([OutRecord(target, b"k", b"a"), OutRecord(f"{bed.name}.nowhere", b"k", b"b")], {}, None)
    assert not caught.value.retryable
    outlet.commit([OutRecord(target, b"k", b"c")], {}, None)
    assert bed.settled(target) == [b"c"]


def test_a_partition_that_the_topic_does_not_have_leaves_it_to_the_key(bed: Any) -> None:
    target = bed.topic("out", partitions=2)
    bed.outlet().commit([OutRecord(target, b"k", b"a", partition=7), OutRecord(target, b"k", b"b", partition=1)], {}, None)
    assert sorted(bed.settled(target)) == [b"a", b"b"]


def test_in_doubt_then_restored_and_the_committed_offset_tells_the_truth(bed: Any, helpers: Any) -> None:
    """The broker falls silent with the commit under way. What it made of that is asked for when it is back."""
    source, target = bed.topic("in"), bed.topic("out")
    bed.producer().send(helpers.records_of(source, 4))
    intake, _ = bed.joined(source)
    helpers.take(intake, 4)
    outlet = bed.outlet(bed.make(kafka_timeout_s=2.0, kafka_transaction_timeout_s=5.0))
    outlet.commit([OutRecord(target, b"k", b"0")], {Partition(source, 0): 1}, intake.group())
    group = intake.group()
    bed.kafka.pause()
    try:
        with pytest.raises(Retriable):
            outlet.commit([OutRecord(target, b"k", b"1")], {Partition(source, 0): 2}, group)
    finally:
        bed.kafka.resume()
    helpers.until(lambda: _restored(outlet))
    committed = intake.committed([Partition(source, 0)])[Partition(source, 0)]
    assert bed.settled(target) == [b"0", b"1"][:committed]
    outlet.commit([OutRecord(target, b"k", b"last")], {Partition(source, 0): 4}, _fresh(intake, helpers))
    assert bed.settled(target)[-1] == b"last"


def test_no_answer_to_the_commit_itself_is_in_doubt(bed: Any, helpers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paused between the offsets and the commit, which is where doubt begins."""
    source, target = bed.topic("in"), bed.topic("out")
    bed.producer().send(helpers.records_of(source, 4))
    intake, _ = bed.joined(source)
    outlet = bed.outlet(bed.make(kafka_timeout_s=2.0, kafka_transaction_timeout_s=5.0))
    if bed.client == "confluent":
        real = outlet._client.producer
        monkeypatch.setattr(outlet._client, "producer", _PausingProducer(real, bed.kafka))
    else:
        commit = outlet._client.commit
        monkeypatch.setattr(outlet._client, "commit", lambda: (outlet._client._producer.flush(), bed.kafka.pause(), commit()))
    try:
        with pytest.raises(InDoubt):
            outlet.commit([OutRecord(target, b"k", b"1")], {Partition(source, 0): 2}, intake.group())
    finally:
        bed.kafka.resume()
    with pytest.raises(Retriable, match="restored"):
        outlet.commit([], {}, None)
    helpers.until(lambda: _restored(outlet))
    committed = intake.committed([Partition(source, 0)])[Partition(source, 0)]
    assert committed in (None, 2)
    assert bed.settled(target) == ([b"1"] if committed else [])


class _PausingProducer:
    """librdkafka's producer, and the broker paused right before the commit."""

    def __init__(self, real: Any, kafka: Any) -> None:
        self._real = real
        self._kafka = kafka

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def commit_transaction(self, timeout_s: float) -> None:
        self._real.flush(5)
        self._kafka.pause()
        self._real.commit_transaction(timeout_s)


def test_a_broker_restarted_with_requests_in_flight(bed: Any, helpers: Any) -> None:
    source, target = bed.topic("in"), bed.topic("out")
    bed.producer().send(helpers.records_of(source, 3))
    intake, _ = bed.joined(source)
    helpers.take(intake, 3)
    outlet = bed.outlet(bed.make(kafka_timeout_s=3.0, kafka_transaction_timeout_s=5.0))
    bed.kafka.kill()
    try:
        with pytest.raises(Retriable):
            outlet.commit([OutRecord(target, b"k", b"lost")], {Partition(source, 0): 1}, intake.group())
    finally:
        bed.kafka.start()
    helpers.until(lambda: _restored(outlet))
    outlet.commit([OutRecord(target, b"k", b"kept")], {Partition(source, 0): 3}, _fresh(intake, helpers))
    assert bed.settled(target) == [b"kept"]
    assert intake.committed([Partition(source, 0)]) == {Partition(source, 0): 3}
    bed.producer().send(helpers.records_of(source, 2, start=3))
    # A member that was thought dead meanwhile begins again at what was committed when it came back.
    taken = helpers.take(intake, 2)
    while taken[-1].value != b"v4":
        taken += helpers.take(intake, 1)
    assert [record.value for record in taken[-2:]] == [b"v3", b"v4"]


def _restored(outlet: Any) -> bool:
    try:
        outlet.restore()
    except Retriable:
        return False
    return True


def _fresh(intake: Any, helpers: Any) -> Any:
    """The group's metadata once the member is one again: it may have had to join anew."""
    found: list[Any] = []

    def joined() -> bool:
        intake.poll(0.2, 1)
        try:
            found.append(intake.group())
        except Retriable:
            return False
        return True

    helpers.until(joined)
    return found[0]

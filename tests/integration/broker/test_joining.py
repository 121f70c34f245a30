"""What kafka-python would forget of a rebalance: see `broker.kafka_python.joining`. Where confluent can be brought to the same
place from outside, it is held to the same."""

import time
from typing import Any

import pytest

from penstock_transformer.broker.port import Fenced
from penstock_transformer.broker.records import OutRecord


def test_a_rebalance_that_ends_between_two_polls_is_not_forgotten(bed: Any, helpers: Any) -> None:
    """Begun by the leader, because of new partitions; the other keeps it waiting, and it ends while the leader does not poll."""
    source = bed.topic("in", partitions=2)
    first, one = bed.joined(source)
    second, two = _another(bed, helpers, source)
    helpers.until(lambda: _shared(first, one, second, two, 1))
    bed.kafka.console("kafka-topics", "--alter", "--topic", source, "--partitions", "4")
    kafka_python = bed.client == "kafka-python"
    until = time.monotonic() + 3.0
    helpers.until(lambda: helpers.polled(first) and (not kafka_python or first._consumer._coordinator.rejoining))
    helpers.until(lambda: helpers.polled(second) and (len(two.owned) == 2 or time.monotonic() > until))
    helpers.until(lambda: _shared(first, one, second, two, 2))


@pytest.mark.parametrize("client", ["kafka-python"])
def test_a_membership_that_ends_while_it_joins_again_is_told_as_lost(bed: Any, helpers: Any) -> None:
    """The member hears of a rebalance, stands still until it is thrown out, and goes on with what it was about to do."""
    source = bed.topic("in", partitions=2)
    settings = {"kafka_session_timeout_s": 1.0}
    first, one = bed.joined(source, bed.make(**settings))
    helpers.until(lambda: helpers.polled(first) and bool(len(one.owned) == 2))
    second, two = _another(bed, helpers, source, **settings)
    coordinator = first._consumer._coordinator
    helpers.until(lambda: helpers.polled(second) and coordinator.rejoin_needed)
    coordinator._net.call_soon_threadsafe(lambda: time.sleep(4))
    helpers.until(lambda: helpers.polled(second) and bool(len(two.owned) == 2))
    one.clear()
    helpers.until(lambda: _shared(first, one, second, two, 1))
    told, partitions = one[0]
    assert (told, len(partitions)) == ("lost", 2)
    # Nor did it claim what it had lost: the other had to give one up first.
    assert two.named("revoked") == one.owned


def test_a_member_whose_name_another_has_taken_says_so(bed: Any, helpers: Any) -> None:
    source = bed.topic("in")
    settings = bed.make(kafka_session_timeout_s=2.0)
    first, _ = bed.joined(source, settings)
    second = bed.intake(settings)
    members = helpers.Members()
    second.subscribe([source], members)
    helpers.until(lambda: helpers.polled(second) and bool(members.owned))

    def fenced() -> bool:
        second.poll(0.1, 1)
        try:
            first.poll(0.1, 1)
        except Fenced:
            return True
        return False

    helpers.until(fenced)


def test_partitions_that_came_while_a_static_member_was_away_are_its_own_when_it_is_back(bed: Any, helpers: Any) -> None:
    """The broker gives it back what it had, without a rebalance; who led the group has to ask for one."""
    source = bed.topic("in", partitions=1)
    member = bed.child("member.py", source)
    assert member.stdout is not None
    assert member.stdout.readline() == "1\n"
    # Nothing is said to the broker.
    member.kill()
    bed.kafka.console("kafka-topics", "--alter", "--topic", source, "--partitions", "3")
    again, members = bed.joined(source, bed.make(kafka_session_timeout_s=30.0))
    helpers.until(lambda: helpers.polled(again) and len(members.owned) == 3)


@pytest.mark.parametrize("client", ["kafka-python"])
def test_an_answer_that_nobody_waited_for_is_not_given_to_the_next_who_asks(bed: Any, helpers: Any) -> None:
    from kafka import TopicPartition
    from kafka.future import Future
    from kafka.structs import OffsetAndMetadata

    source = bed.topic("in", partitions=2)
    bed.producer().send([record for number in range(2) for record in helpers.records_of(source, 5, partition=number)])
    first, one = bed.joined(source)
    helpers.until(lambda: helpers.polled(first) and bool(len(one.owned) == 2))
    partitions = sorted(one.owned)
    bed.outlet().commit([], dict.fromkeys(partitions, 4), first.group())
    first._consumer._coordinator._offset_fetch_futures |= {
        frozenset(places): Future().success({place: OffsetAndMetadata(0, "", -1) for place in places})
        for places in ([TopicPartition(*partition)] for partition in partitions)
    }
    helpers.until(lambda: first.committed(partitions[:1]) == {partitions[0]: 4})
    # One goes to another member, and comes back when that has gone for good.
    second, two = _another(bed, helpers, source)
    helpers.until(lambda: _shared(first, one, second, two, 1))
    (gone,) = two.owned
    second.close()
    bed.producer().send([OutRecord(source, b"k", b"last", partition=gone.number)])
    seen: list[Any] = []
    helpers.until(lambda: bool(seen.extend(first.poll(0.2, 100)) or (seen and seen[-1].value == b"last")))
    assert [record.offset for record in seen if record.partition == gone] == [4, 5]


def _another(bed: Any, helpers: Any, topic: str, **settings: Any) -> Any:
    intake = bed.intake(bed.make(kafka_instance=f"{bed.name}-second", **settings))
    members = helpers.Members()
    intake.subscribe([topic], members)
    return intake, members


def _shared(first: Any, one: Any, second: Any, two: Any, count: int) -> bool:
    first.poll(0.1, 1)
    second.poll(0.1, 1)
    return len(one.owned) == len(two.owned) == count and not one.owned & two.owned

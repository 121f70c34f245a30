"""The lanes of the table's queue: order, places, what is held."""

from hypothesis import given
from hypothesis import strategies as st

from penstock_transformer.broker.records import Partition
from penstock_transformer.predictions.lanes import Lanes
from penstock_transformer.predictions.port import Claim
from penstock_transformer.predictions.resource import Payload


def claim(number: int, key: bytes | None = None) -> Claim:
    return Claim(number, f"p{number}", "m", key, Payload(b"%d" % number, (), 1), (("a", b"b"),), 1700000000.25)


def test_a_row_becomes_the_record_that_the_relay_would_publish() -> None:
    lanes = Lanes("m.requests", 1)
    lanes.put(claim(7, b"k"))
    (record,) = lanes.take(10)
    assert (record.partition, record.offset, record.key, record.value) == (Partition("m.requests", 0), 0, b"k", b"7")
    assert (record.timestamp_ms, record.header("ce_id"), record.header("a")) == (1700000000250, b"p7", b"b")
    assert record.header("ce_type") == b"dev.penstock.prediction.requested.v1"


def test_rows_without_a_key_go_where_there_is_least_and_nothing_is_paused() -> None:
    lanes = Lanes("m.requests", 3)
    lanes.pause([lanes.partitions[0]], True)
    for number in range(4):
        lanes.put(claim(number))
    assert [record.partition.number for record in lanes.take(10)] == [1, 1, 2, 2]
    assert not lanes.idle
    lanes.pause(lanes.partitions, True)
    lanes.put(claim(9))
    assert lanes.idle
    assert lanes.take(10) == []
    lanes.pause(lanes.partitions, False)
    assert [record.value for record in lanes.take(10)] == [b"9"]


@given(st.lists(st.sampled_from([None, b"a", b"b", b"c"]), max_size=40), st.lists(st.integers(1, 7), max_size=40))
def test_each_row_is_handed_out_once_in_the_order_of_its_lane_and_key(keys: list[bytes | None], takes: list[int]) -> None:
    lanes = Lanes("m.requests", 4)
    for number, key in enumerate(keys):
        lanes.put(claim(number, key))
    found = [record for limit in (*takes, 100) for record in lanes.take(limit)]
    assert sorted(int(record.value or b"") for record in found) == list(range(len(keys)))
    for partition in lanes.partitions:
        of_lane = [record for record in found if record.partition == partition]
        assert [record.offset for record in of_lane] == list(range(len(of_lane)))
        assert lanes.ends([partition]) == {partition: len(of_lane)}
    for key in (b"a", b"b", b"c"):
        values = [int(record.value or b"") for record in found if record.key == key]
        assert values == sorted(values)
        assert len({record.partition for record in found if record.key == key}) <= 1


def test_what_is_not_finished_is_held() -> None:
    lanes = Lanes("m.requests", 1)
    (partition,) = lanes.partitions
    for number in range(3):
        lanes.put(claim(number))
    lanes.take(3)
    assert lanes.committed([partition]) == {partition: 0}
    lanes.finish({partition: 2})
    assert lanes.held() == {"p2"}
    assert lanes.committed([partition]) == {partition: 2}
    lanes.finish({partition: 3})
    assert (lanes.held(), lanes.committed([partition])) == (set(), {partition: 3})

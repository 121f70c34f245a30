"""Outcomes: what is read, what is refused with which field, and which of two counts."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput, UnsupportedType
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.feedback.outcome import Outcome, newer, outcome_of, read_outcome, write_outcome

NOW = 1_790_000_000.0


def told(document: Any, **more: Any) -> Outcome:
    return read_outcome(orjson.dumps(document), received=NOW, **more).outcome


def test_what_is_told() -> None:
    assert told({"id": "a", "label": "late"}) == Outcome("a", 0, NOW, "late", None, NOW)
    assert told({"label": "late", "row": 3, "time": 12.5}, path_id="a") == Outcome("a", 3, 12.5, "late", None, NOW)
    assert told({"id": "a", "value": True}).truth == 1.0
    assert told({"id": "a", "value": 0, "time": "1970-01-01T00:00:10Z"}).time == 10.0
    assert read_outcome(b'{"id":"a","value":1,"model":"m"}', received=NOW).model == "m"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"label": "x"}, "id"),
        ({"id": 3, "label": "x"}, "id"),
        ({"id": "a\n", "label": "x"}, "id"),
        ({"id": "a"}, "label"),
        ({"id": "a", "label": "x", "value": 1}, "value"),
        ({"id": "a", "label": 3}, "label"),
        ({"id": "a", "label": ""}, "label"),
        ({"id": "a", "value": "3"}, "value"),
        ({"id": "a", "value": [1]}, "value"),
        ({"id": "a", "label": "x", "row": -1}, "row"),
        ({"id": "a", "label": "x", "row": True}, "row"),
        ({"id": "a", "label": "x", "time": "soon"}, "time"),
        ({"id": "a", "label": "x", "time": 9e9}, "time"),
        ({"id": "a", "label": "x", "model": 3}, "model"),
        ({"id": "a", "lable": "x"}, "lable"),
        ([1], None),
    ],
)
def test_what_is_wrong_is_named(document: Any, field: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        told(document)
    assert caught.value.field == field


def test_another_id_than_the_paths_is_refused() -> None:
    with pytest.raises(InvalidInput, match="as the path has it"):
        told({"id": "b", "label": "x"}, path_id="a")
    with pytest.raises(InvalidInput, match="JSON"):
        read_outcome(b"{", received=NOW)


@given(
    st.builds(
        Outcome,
        id=st.text("abc-", min_size=1, max_size=8),
        row=st.integers(0, 9),
        time=st.floats(0, NOW),
        label=st.just(None),
        value=st.floats(allow_nan=False, allow_infinity=False),
        received=st.just(NOW),
    )
)
def test_what_is_written_is_read(outcome: Outcome) -> None:
    assert read_outcome(write_outcome(outcome), received=NOW).outcome == outcome


@given(
    st.lists(st.builds(Outcome, st.just("a"), st.just(0), st.sampled_from([1.0, 2.0]), st.sampled_from(["x", "y"])), min_size=1)
)
def test_the_last_counts_in_whatever_order_they_come(outcomes: list[Outcome]) -> None:
    def last(given: list[Outcome]) -> Outcome:
        found = given[0]
        for one in given:
            found = newer(found, one)
        return found

    assert last(outcomes).truth == last(outcomes[::-1]).truth == last(outcomes + outcomes).truth
    assert last(outcomes).time == max(outcome.time for outcome in outcomes)


def record(value: bytes | None, *headers: tuple[str, bytes]) -> Record:
    return Record(Partition("m.outcomes", 1), 7, 5000, None, value, headers)


def test_records() -> None:
    assert outcome_of(record(b'{"label":"x"}', ("CE_ID", b"a")), received=NOW) == Outcome("a", 0, 5.0, "x", None, NOW)
    assert outcome_of(record(b'{"id":"b","label":"x"}', ("ce_id", b"a")), received=NOW).id == "b"
    stated = ("ce_time", b"1970-01-01T00:00:09Z")
    assert outcome_of(record(b'{"id":"b","label":"x"}', stated), received=NOW).time == 9.0
    assert outcome_of(record(b'{"id":"b","label":"x","time":3}', stated), received=NOW).time == 3.0
    with pytest.raises(InvalidInput, match="id"):
        outcome_of(record(b'{"label":"x"}'), received=NOW)
    with pytest.raises(InvalidInput, match="empty"):
        outcome_of(record(None), received=NOW)
    with pytest.raises(UnsupportedType):
        outcome_of(record(b"<x/>", ("content-type", b"text/xml")), received=NOW)

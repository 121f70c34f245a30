"""Updates as they come: what is read, which time counts, and that each fault names its field."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput, PenstockError, UnsupportedType
from penstock.features.spec import ViewLayout
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.store.port import RowWrite
from penstock_transformer.updates.update import UpdateReader

VIEW = ViewLayout(
    {"user": "string", "item": "int64"},
    {"amount": "double", "count": "int32", "seen": "unix_timestamp", "raw": "bytes", "tags": "list<string>"},
    None,
)
READER = UpdateReader("purchases", VIEW, 3)
KEYS = {"user": "ann", "item": 7}


def record(value: Any, *headers: tuple[str, bytes], timestamp_ms: int = 1_700_000_000_000) -> Record:
    data = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return Record(Partition("purchases.updates", 0), 5, timestamp_ms, b"k", data, headers)


def update(**changes: Any) -> dict[str, Any]:
    return {"keys": KEYS, "values": {"amount": 1.5}, "event_time": 1_600_000_000.25} | changes


def test_a_whole_row_is_read_and_what_is_not_named_is_missing() -> None:
    values = {"amount": 2, "count": 3, "seen": "2026-01-02T03:04:05Z", "raw": "AAE=", "tags": ["a", "b"]}
    assert READER.read(record(update(values=values))) == RowWrite(
        "purchases",
        ("ann", 7),
        {"amount": 2, "count": 3, "seen": 1767323045.0, "raw": b"\0\x01", "tags": ["a", "b"]},
        1_600_000_000.25,
    )
    assert READER.read(record(update(values={}))).values == dict.fromkeys(VIEW.values)


@pytest.mark.parametrize(
    "changes, headers, expected",
    [
        ({}, (), 1_600_000_000.25),
        ({"event_time": "2020-01-01T00:00:00.5+01:00"}, (), 1_577_833_200.5),
        ({"event_time": None}, (("ce_time", b"2021-01-01T00:00:00Z"),), 1_609_459_200.0),
        ({"event_time": 5}, (("ce_time", b"2021-01-01T00:00:00Z"),), 5.0),
        ({"event_time": None}, (), 1_700_000_000.0),
    ],
)
def test_the_event_s_own_time_comes_first(changes: dict[str, Any], headers: Any, expected: float) -> None:
    assert READER.read(record(update(**changes), *headers)).event_time == expected


@pytest.mark.parametrize(
    "value, field",
    [
        (update(keys={"user": "ann"}), "keys.item"),
        (update(keys=KEYS | {"item": "7x"}), "keys.item"),
        (update(keys=KEYS | {"item": 2**70}), "keys.item"),
        (update(keys=KEYS | {"item": True}), "keys.item"),
        (update(keys=KEYS | {"item": None}), "keys.item"),
        (update(keys=KEYS | {"user": "a\nb"}), "keys.user"),
        (update(keys=KEYS | {"city": 1}), "keys.city"),
        (update(values={"amount": "much"}), "values.amount"),
        (update(values={"count": 2**40}), "values.count"),
        (update(values={"count": 1.5}), "values.count"),
        (update(values={"raw": "%"}), "values.raw"),
        (update(values={"tags": [1]}), "values.tags"),
        (update(values={"amuont": 1}), "values.amuont"),
        (update(event_time="yesterday"), "event_time"),
        (update(event_time=-1), "event_time"),
        (update(event_time=time.time() + 10 * 86400), "event_time"),
        (update(extra=1), None),
        ({"keys": KEYS}, None),
        ([1], None),
        (b"", None),
        (None, None),
        (b"{", None),
        (b'{"keys": {}, "values": {"amount": NaN}}', None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
        (b" " * 2_000_000, None),
    ],
)
def test_a_wrong_update_names_its_field(value: Any, field: str | None) -> None:
    with pytest.raises(InvalidInput) as refused:
        READER.read(record(value))
    assert refused.value.field == field


def test_a_wrong_ce_time_is_named() -> None:
    with pytest.raises(InvalidInput, match="ce_time"):
        READER.read(record(update(event_time=None), ("ce_time", b"soon")))


@pytest.mark.parametrize("kind", [b"application/octet-stream", b"application/avro", b"application/cloudevents+json"])
def test_other_content_types_are_refused(kind: bytes) -> None:
    with pytest.raises(UnsupportedType, match="content-type"):
        READER.read(record(update(), ("Content-Type", kind)))


@pytest.mark.parametrize("kind", [b"", b"application/json", b"Application/JSON; charset=utf-8"])
def test_json_is_read_under_every_name_of_it(kind: bytes) -> None:
    assert READER.read(record(update(), ("content-type", kind))).key == ("ann", 7)


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
NAMES = st.sampled_from(["user", "item", "amount", "count", "x"])
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8)
DOCUMENTS = st.fixed_dictionaries({"keys": JSON, "values": JSON, "event_time": JSON})


@given(st.one_of(st.binary(max_size=60), DOCUMENTS.map(lambda document: json.dumps(document).encode())))
def test_nothing_but_our_errors_comes_of_any_value(value: bytes) -> None:
    try:
        row = READER.read(record(value))
    except PenstockError:
        return
    assert len(row.key) == 2

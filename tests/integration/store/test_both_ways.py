"""What Feast wrote we read equal to get_online_features, and what we wrote Feast reads: every store, type and kind of key."""

import asyncio
import json
import math
import struct
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from penstock.features.spec import ViewLayout
from penstock_transformer.store.entity_keys import EntityKeyCodec
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import FeatureStore, RowWrite, SetRead

T0 = 1_700_000_000.0
WHEN = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)
UUIDS = [uuid.UUID(int=1), uuid.UUID(int=2**127)]
FLOAT = struct.unpack("<f", struct.pack("<f", 0.1))[0]

# Every feature of every_type: (an ordinary row, a row of extremes). `values_of` leaves out what an older Feast has no type for.
VALUES: dict[str, tuple[Any, Any]] = {
    "bytes": (b"\x00\xff", b""),
    "string": ("Zürich 東京 \U0001f600", ""),
    "int32": (-7, 2**31 - 1),
    "int64": (0, -(2**63)),
    "double": (0.1, -math.inf),
    "float": (FLOAT, 3.0),
    "bool": (True, False),
    "time": (WHEN, datetime(1969, 1, 1, tzinfo=UTC)),
    "uuid": (UUIDS[0], UUIDS[1]),
    "time_uuid": (UUIDS[1], UUIDS[0]),
    "decimal": (Decimal("12345678901234567890.123"), Decimal("-0.00")),
    "json": ('{"a": [1, null, "ü"]}', "[]"),
    "pdf": (b"%PDF", b"x" * 300),
    "image": (b"\x89PNG", b"y"),
    "zoned": (WHEN, WHEN),
    "map": ({"a": 1, "b": "x", "c": [1.5, 2.5]}, {}),
    "scalar_map": ({1: "one", 2: "two"}, {}),
    "struct": ({"a": 1, "b": "x"}, {"a": -1, "b": ""}),
    "bytes_list": ([b"a", b""], [b"\xff" * 200]),
    "string_list": (["a", "", "ü"], ["x" * 200]),
    "int32_list": ([1, -1, 0], [2**31 - 1, -(2**31)]),
    "int64_list": ([1, -1, 0], [2**63 - 1, -(2**63)]),
    "double_list": ([0.5, -0.25], [math.inf]),
    "float_list": ([0.5, FLOAT], [0.0]),
    "bool_list": ([True, False], [False]),
    "time_list": ([WHEN, datetime(2000, 1, 1, tzinfo=UTC)], [WHEN]),
    "uuid_list": (UUIDS, UUIDS[:1]),
    "time_uuid_list": (UUIDS, UUIDS[:1]),
    "decimal_list": ([Decimal("1.5"), Decimal(2)], [Decimal(0)]),
    "json_list": (['{"a":1}', "2"], ["[]"]),
    "map_list": ([{"a": 1}, {"b": "x"}], [{}]),
    "struct_list": ([{"a": 1, "b": "x"}], [{"a": 2, "b": "y"}]),
    "bytes_set": ({b"a", b"b"}, {b"c"}),
    "string_set": ({"a", "ü"}, {""}),
    "int32_set": ({1, -1}, {0}),
    "int64_set": ({1, 2**62}, {0}),
    "double_set": ({0.5, 1.5}, {0.0}),
    "float_set": ({0.5, 1.5}, {0.0}),
    "bool_set": ({True, False}, {True}),
    "time_set": ({WHEN}, {WHEN}),
    "uuid_set": (set(UUIDS), {UUIDS[0]}),
    "time_uuid_set": (set(UUIDS), {UUIDS[1]}),
    "decimal_set": ({Decimal("1.5")}, {Decimal(7)}),
    "nested": ([[1, 2], [3]], [[0]]),
    "nested_set": ([[1, 2], [3]], [[0]]),
}

KEYS: dict[str, list[dict[str, Any]]] = {
    "by_string": [{"user": "a"}, {"user": ""}, {"user": "Ünï 東 \U0001f600 * ? [x]"}, {"user": "x" * 300}],
    "by_int64": [{"item": 0}, {"item": -1}, {"item": 2**63 - 1}, {"item": -(2**63)}],
    "by_int32": [{"slot": 0}, {"slot": -1}, {"slot": 2**31 - 1}, {"slot": 7}],
    "by_bytes": [{"blob": b"a"}, {"blob": b"\x00\xff*"}],
    "by_two": [{"user": "a", "item": 1}, {"user": "ü", "item": -5}, {"user": "", "item": 0}],
}


def using(url: str, layout: Any, work: Callable[[FeatureStore], Awaitable[Any]]) -> Any:
    """Run `work` on an opened store."""

    async def run() -> Any:
        store = open_store(url, layout)
        await store.start()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def normal(value: Any, kind: str) -> Any:
    """Feast's Python values and ours in one form: seconds for times, text for UUIDs and decimals, sorted sets, parsed JSON."""
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): normal(item, "") for key, item in value.items()}
    if kind.startswith("set<") and not isinstance(value, str | bytes):
        return sorted((normal(item, "") for item in value), key=repr)
    if isinstance(value, list | tuple | set):
        inner = kind[5:-1] if kind.startswith("list<") else ""
        return [normal(item, inner) for item in value]
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, uuid.UUID | Decimal):
        return str(value)
    if kind == "json" and isinstance(value, str):
        return json.loads(value)
    return value


def names(view: ViewLayout) -> list[str]:
    return list(view.values)


def values_of(online: Any) -> dict[str, tuple[Any, Any]]:
    """VALUES of the features that every_type has with this Feast, in the view's order."""
    return {name: VALUES[name] for name in names(online.layout.views["every_type"])}


def key_tuple(key: dict[str, Any], view: ViewLayout) -> tuple[Any, ...]:
    return tuple(key[name] for name in view.keys)


def ours(online: Any, view: str, keys: list[dict[str, Any]], features: list[str] | None = None) -> Any:
    layout = online.layout.views[view]
    read = SetRead(view, [key_tuple(key, layout) for key in keys], tuple(features or names(layout)))
    return using(online.url, online.layout, lambda store: store.read([read]))[0]


def assert_same(online: Any, view: str, keys: list[dict[str, Any]]) -> None:
    """Our reader and Feast's answer the same for these keys."""
    layout = online.layout.views[view]
    theirs, stamps = online.feast_read(view, keys, names(layout))
    found = ours(online, view, keys)
    for name, kind in layout.values.items():
        column = [normal(value, kind) for value in found.columns[name].to_list()]
        assert column == [normal(value, kind) for value in theirs[name]], name
    times = [0.0 if math.isnan(time) else time for time in found.event_times.tolist()]
    assert times == pytest.approx(stamps, abs=1e-6)


def test_every_type_of_feast_is_covered(online):
    assert online.feast.call("value_types_of", online.repo, "every_type") == online.feast.call("value_types")
    # Feast 0.63 lacks these two; whatever it is, none of the others may go missing.
    assert set(VALUES) - set(values_of(online)) <= {"zoned", "scalar_map"}


def test_we_read_every_type_that_feast_wrote(online):
    values = values_of(online)
    rows = [({"user": f"feast-{place}"}, {name: pair[place] for name, pair in values.items()}, T0 + place) for place in (0, 1)]
    rows.append(({"user": "feast-none"}, dict.fromkeys(values), T0))
    online.feast_write("every_type", rows)
    assert_same(online, "every_type", [{"user": name} for name in ("feast-0", "feast-1", "feast-none", "nobody")])
    found = ours(online, "every_type", [{"user": "feast-none"}])
    assert all(column.missing.all() for column in found.columns.values())


def test_feast_reads_every_type_that_we_wrote(online):
    values = values_of(online)
    # An empty set in a Python set's place: Feast's reader gives sets of everything hashable.
    rows = [
        RowWrite("every_type", (f"ours-{place}",), {name: pair[place] for name, pair in values.items()}, T0 + place)
        for place in (0, 1)
    ]
    rows.append(RowWrite("every_type", ("ours-none",), dict.fromkeys(values), T0))
    assert using(online.url, online.layout, lambda store: store.write(rows)) == [True] * 3
    keys = [{"user": name} for name in ("ours-0", "ours-1", "ours-none")]
    assert_same(online, "every_type", keys)
    theirs, _ = online.feast_read("every_type", keys, list(values))
    for name, kind in online.layout.views["every_type"].values.items():
        expected = [normal(value, kind) for value in (*values[name], None)]
        assert [normal(value, kind) for value in theirs[name]] == expected, name


@pytest.mark.parametrize("view", KEYS)
def test_keys_that_feast_wrote(online, view):
    keys = KEYS[view]
    rows = [(key, {"amount": place + 0.5, "count": place, "name": f"n{place}"}, T0) for place, key in enumerate(keys)]
    online.feast_write(view, rows)
    assert_same(online, view, keys)


@pytest.mark.parametrize("view", KEYS)
def test_keys_that_we_wrote(online, view):
    layout = online.layout.views[view]
    keys = KEYS[view]
    rows = [
        RowWrite(view, key_tuple(key, layout), {"amount": place - 0.5, "count": -place, "name": f"ö{place}"}, T0 + 60)
        for place, key in enumerate(keys)
    ]
    assert using(online.url, online.layout, lambda store: store.write(rows)) == [True] * len(keys)
    theirs, _ = online.feast_read(view, keys, names(layout))
    assert theirs == {
        "amount": [place - 0.5 for place in range(len(keys))],
        "count": [-place for place in range(len(keys))],
        "name": [f"ö{place}" for place in range(len(keys))],
    }
    assert_same(online, view, keys)


@pytest.mark.parametrize("version", [2, 3])
def test_both_versions_of_serialised_keys(feast, version):
    kinds = {"user": "string", "item": "int64", "slot": "int32", "blob": "bytes", "at": "unix_timestamp"}
    key = {"user": "ü", "item": -5, "slot": 7, "blob": b"\x00\xff", "at": 1_700_000_000}
    (encoded,) = EntityKeyCodec(kinds, version, "v").encode([tuple(key.values())])
    assert encoded == feast.call("serialized", key, kinds, version)


def test_one_read_of_several_views_large_batches_and_repeated_keys(online):
    rows = [RowWrite("by_int64", (n,), {"amount": n / 2, "count": n, "name": str(n)}, T0 + 100) for n in range(1000, 1700)]
    rows += [RowWrite("by_string", (f"s{n}",), {"count": n}, T0 + 100) for n in range(5)]

    async def work(store: FeatureStore) -> Any:
        await store.write(rows)
        return await store.read(
            [
                SetRead("by_int64", [(n,) for n in range(999, 1701)], ("name", "amount", "count")),
                SetRead("by_string", [("s3",), ("s0",), ("s3",), ("gone",)], ("count", "name")),
                SetRead("by_int64", [], ("name",)),
                SetRead("by_string", [("s1",), ("gone",)], ()),
            ]
        )

    big, few, empty, bare = using(online.url, online.layout, work)
    assert list(big.columns) == ["name", "amount", "count"]
    assert big.columns["count"].to_list() == [None, *range(1000, 1700), None]
    assert big.columns["amount"].values.dtype == np.float64
    assert big.columns["count"].values.dtype == np.int64
    assert np.isnan(big.event_times).tolist() == [True, *[False] * 700, True]
    assert few.columns["count"].to_list() == [3, 0, 3, None]
    assert few.columns["name"].to_list() == [None] * 4
    assert empty.columns["name"].to_list() == []
    assert bare.columns == {}
    assert np.isnan(bare.event_times).tolist() == [False, True]


def test_a_late_update_never_overwrites(online):
    def row(count: int, time: float) -> RowWrite:
        return RowWrite("by_int64", (77,), {"count": count, "name": f"v{count}"}, time)

    async def work(store: FeatureStore) -> Any:
        first = await store.write([row(2, T0 + 200)])
        late = await store.write([row(1, T0 + 100)])
        equal = await store.write([row(3, T0 + 200)])
        mixed = await store.write([row(5, T0 + 300.5), row(4, T0 + 250), row(6, T0 + 300.75)])
        return first, late, equal, mixed, await store.read([SetRead("by_int64", [(77,)], ("count", "name"))])

    first, late, equal, mixed, (found,) = using(online.url, online.layout, work)
    assert (first, late, equal, mixed) == ([True], [False], [False], [True, False, True])
    assert found.columns["count"].to_list() == [6]
    theirs, _ = online.feast_read("by_int64", [{"item": 77}], ["count", "name"])
    assert theirs == {"count": [6], "name": ["v6"]}


def test_a_late_update_never_overwrites_what_feast_wrote(online):
    online.feast_write("by_int64", [({"item": 78}, {"amount": 1.0, "count": 1, "name": "feast"}, T0 + 500)])
    late = RowWrite("by_int64", (78,), {"count": 0, "name": "late"}, T0 + 499)
    newer = RowWrite("by_int64", (78,), {"count": 2, "name": "newer"}, T0 + 501)
    assert using(online.url, online.layout, lambda store: store.write([late, newer])) == [False, True]
    assert ours(online, "by_int64", [{"item": 78}]).columns["name"].to_list() == ["newer"]


def test_events_before_1970_are_in_order_too(online):
    def row(time: float) -> RowWrite:
        return RowWrite("by_int64", (79,), {"count": int(time)}, time)

    rows = [row(-100.0), row(-200.0), row(-50.0), row(-1.0), row(-2.0), row(0.0), row(10.0), row(-10.0)]
    assert using(online.url, online.layout, lambda store: store.write(rows)) == [
        True,
        False,
        True,
        True,
        False,
        True,
        True,
        False,
    ]
    assert ours(online, "by_int64", [{"item": 79}], ["count"]).columns["count"].to_list() == [10]


def test_writers_at_once_leave_the_newest(online):
    async def work(store: FeatureStore) -> Any:
        def rows(time: int) -> list[RowWrite]:
            return [RowWrite("by_int64", (n,), {"count": time, "name": str(time)}, T0 + time) for n in range(3000, 3010)]

        await asyncio.gather(*(store.write(rows(time)) for time in (5, 3, 8, 1, 7, 2)))
        return await store.read([SetRead("by_int64", [(n,) for n in range(3000, 3010)], ("count", "name"))])

    (found,) = using(online.url, online.layout, work)
    assert found.columns["count"].to_list() == [8] * 10
    assert found.columns["name"].to_list() == ["8"] * 10


def test_delete_and_scan(online):
    users = [f"scan-{n} *" for n in range(25)]

    async def work(store: FeatureStore) -> Any:
        await store.delete("by_string", [(name,) for name in await keys_of(store)])
        await store.write([RowWrite("by_string", (name,), {"count": 1}, T0) for name in users])
        # Views of one entity share a hash in Redis: the others must neither show up here nor be deleted here.
        await store.write([RowWrite("every_type", (name,), {"int64": 5}, T0) for name in ("other", users[0])])
        before = await keys_of(store)
        gone = await store.delete("by_string", [(users[0],), (users[1],), ("never was",)])
        return before, gone, await keys_of(store), await store.read([SetRead("every_type", [(users[0],)], ("int64",))])

    async def keys_of(store: FeatureStore) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            page, cursor = await store.scan("by_string", cursor, 10)
            assert len(page) <= 10
            found += [key for (key,) in page]
            if cursor is None:
                return found

    before, gone, after, (kept,) = using(online.url, online.layout, work)
    assert sorted(before) == sorted(users)
    assert gone == 2
    assert sorted(after) == sorted(users[2:])
    assert kept.columns["int64"].to_list() == [5]
    theirs, _ = online.feast_read("by_string", [{"user": users[0]}, {"user": users[2]}], ["count"])
    assert theirs == {"count": [None, 1]}


def test_the_sdk_fallback_reads_and_writes_the_same(online):
    rows = [RowWrite("by_two", ("sdk", n), {"amount": n / 4, "count": n, "name": f"ü{n}"}, T0 + n) for n in range(3)]
    using(online.url, online.layout, lambda store: store.write(rows))
    answer = online.feast.call("sdk", f"feast:{online.repo}/feature_store.yaml", online.layout)
    (found,), wrote = answer
    assert found.columns["count"].to_list() == [0, 2, None]
    assert found.columns["name"].to_list() == ["ü0", "ü2", None]
    assert found.event_times.tolist()[:2] == [T0, T0 + 2]
    assert math.isnan(found.event_times[2])
    assert wrote == [True, False]
    assert ours(online, "by_two", [{"user": "sdk", "item": 1}]).columns["name"].to_list() == ["through Feast"]

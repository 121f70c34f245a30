"""Stored values: every value comes back as it was written, column by column as value by value, and broken bytes are refused."""

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock_transformer.store.column_reading import read_block
from penstock_transformer.store.value_reading import read_value
from penstock_transformer.store.value_types import VALUE_TYPES, value_type
from penstock_transformer.store.value_writing import write_value
from penstock_transformer.store.wire import decode_timestamp, encode_timestamp, fields, read_varint, signed, varint

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "bytes": st.binary(),
    "string": st.text(st.characters(exclude_categories=["Cs"])),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False),
    "float": st.floats(width=32, allow_nan=False),
    "bool": st.booleans(),
    "unix_timestamp": st.integers(-62_135_596_800, 253_402_300_799).map(float),
}


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """A scalar type, and enough values of it for both ways of reading, some of them missing."""
    name = draw(st.sampled_from(sorted(SCALARS)))
    gaps = draw(st.booleans())
    values = SCALARS[name] | st.none() if gaps else SCALARS[name]
    return name, draw(st.lists(values, min_size=1, max_size=60))


@given(typed_values())
def test_columns_are_what_was_written(typed):
    name, values = typed
    kind = value_type(name, "f")
    rows = [[write_value(value, kind, "f")] for value in values]
    column, missing = read_block(rows, 0, ("f",), kind, "v")
    assert missing[0].tolist() == [value is None for value in values]
    assert [None if gone else value for value, gone in zip(column[0].tolist(), missing[0].tolist(), strict=True)] == values
    assert column.dtype == kind.dtype
    gone = column[0][missing[0]].tolist()
    assert all(value == kind.placeholder or value != value for value in gone)


@given(typed_values(), st.lists(st.integers(0, 59), max_size=3))
def test_the_fast_way_says_what_the_slow_way_says(typed, broken):
    name, values = typed
    kind = value_type(name, "f")
    rows = [[write_value(value, kind, "f")] for value in values]
    for place in broken:
        rows[place % len(rows)] = [b"\x98\x01\x00"]  # null_val, which Feast reads as no value
    column, missing = read_block(rows, 0, ("f",), kind, "v")
    for place, (data,) in enumerate(rows):
        expected = read_value(data, kind) if data else None
        assert missing[0][place] == (expected is None)
        if expected is not None:
            assert column[0][place] == expected


@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 3))
def test_blocks_of_several_features_with_others_around(count, width, before):
    kind = value_type("double", "f")
    other = write_value("other", value_type("string", "f"), "f")
    names = tuple(f"f{n}" for n in range(width))
    rows = [
        [other] * before + [write_value(row * 10 + n, kind, "f") for n in range(width)] + [b"\x08\x01"] for row in range(count)
    ]
    column, missing = read_block(rows, before, names, kind, "v")
    assert column.tolist() == [[row * 10 + n for row in range(count)] for n in range(width)]
    assert not missing.any()
    assert all(one.flags.c_contiguous for one in column)


@pytest.mark.parametrize("count", [1, 200])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("int64", b"\x22\x01x"),
        ("int64", b"\x20"),
        ("int64", b"\x20\xff"),
        ("int64", b"\x20" + b"\xff" * 10 + b"\x01"),
        ("double", b"\x29\x00\x00"),
        ("double", b"\x12\x07seven77"),
        ("float", b"\x35"),
        ("bool", b"\x12\x00"),
        ("string", b"\x12\x05abc"),
        ("string", b"\x12\x02\xff\xfe"),
        ("string", b"\x20\x01"),
        ("string", b"\xfa\x07\x00"),
        ("list<float>", b"\x82\x01\x04\x0a\x02ab"),
        ("int32", b"\x20\x80\x80\x80\x80\x10"),
        ("unix_timestamp", b"\x20\x01"),
    ],
)
def test_a_value_that_cannot_be_read_names_its_feature(name, data, count):
    kind = value_type(name, "f")
    with pytest.raises(UpstreamUnavailable) as caught:
        read_block([[data]] * count, 0, ("colour",), kind, "paint")
    assert caught.value.field == "paint.colour"


def test_a_plain_value_of_a_near_type_is_taken():
    assert read_value(write_value(5, value_type("int32", "f"), "f"), value_type("int64", "f")) == 5
    assert read_value(write_value(5, value_type("int32", "f"), "f"), value_type("double", "f")) == 5.0
    assert read_value(write_value("x", value_type("string", "f"), "f"), value_type("uuid", "f")) == "x"


def test_nan_and_no_timestamp_are_missing():
    for name, data in {
        "double": b"\x29" + struct.pack("<d", math.nan),
        "float": b"\x35" + struct.pack("<f", math.nan),
        "unix_timestamp": b"\x40" + varint(-(2**63)),
    }.items():
        for count in (1, 100):
            column, missing = read_block([[data]] * count, 0, ("f",), value_type(name, "f"), "v")
            assert missing.all()
            assert np.isnan(column).all()


WRONG: list[tuple[str, Any]] = [
    ("int32", 2**31), ("int32", True), ("int64", 2**63), ("int64", 1.0), ("int64", "1"), ("double", "1"), ("double", True),
    ("float", 1e39), ("bool", 1), ("string", 1), ("string", "\ud800"), ("bytes", "x"), ("unix_timestamp", "now"),
    ("unix_timestamp", math.inf), ("unix_timestamp", 10**30), ("unix_timestamp", 253_402_300_800),
    ("unix_timestamp", -62_135_596_801), ("unix_timestamp", np.datetime64("NaT")), ("list<unix_timestamp>", [2**63]),
    ("list<int64>", 1), ("list<int64>", ["x"]), ("list<string>", "abc"), ("map", []),
    ("map", {1: 2}), ("map", {"a": object()}), ("scalar_map", {"a": 1}), ("list<map>", [1]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_what_does_not_fit_is_refused_by_name(name, value):
    with pytest.raises(InvalidInput) as caught:
        write_value(value, value_type(name, "f"), "colour")
    assert caught.value.field == "colour"
    assert name in caught.value.message


@pytest.mark.parametrize("unit", ["D", "s", "ms", "us", "ns"])
def test_numpys_times_are_seconds_whatever_their_unit(unit):
    moment = np.datetime64("2024-02-29", unit)
    for value, name in ((moment, "unix_timestamp"), (np.array([moment]), "list<unix_timestamp>")):
        found = read_value(write_value(value, value_type(name, "f"), "f"), value_type(name, "f"))
        assert found == (1_709_164_800.0 if name == "unix_timestamp" else [1_709_164_800.0])


def test_an_unknown_type_is_refused_by_name():
    with pytest.raises(InvalidInput, match="complex"):
        value_type("complex", "f")
    assert value_type("list<int64>", "f") is VALUE_TYPES["list<int64>"]


@given(st.integers(-(2**63), 2**64 - 1))
def test_varints(number):
    data = varint(number)
    found, end = read_varint(data, 0)
    assert end == len(data)
    assert found == number % 2**64
    assert signed(found) == (number if number < 2**63 else number - 2**64)


@given(st.integers(-(10**10), 10**10), st.integers(0, 999_999))
def test_timestamps(seconds, micros):
    assert decode_timestamp(encode_timestamp(seconds, micros * 1000)) == pytest.approx(seconds + micros / 1e6, abs=1e-5)


@given(st.binary(max_size=40))
def test_broken_bytes_are_a_value_error_and_nothing_else(data):
    for read in (lambda: list(fields(data)), *(lambda kind=kind: read_value(data, kind) for kind in VALUE_TYPES.values())):
        try:
            read()
        except ValueError:
            pass

"""Graphs of calendar encodings, held to their numpy definition."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.testing.encoding import assert_same_bits, encode_both, instants


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.none(), instants), min_size=1, max_size=12))
@example([-62135596800.0, 253402300799.0, 253402300799.5, -0.000001, 951868799.0, -2203977600.0, 68169600.0])
def test_timestamp_parts_are_exact(values: list[float | None]) -> None:
    parts = ["year", "month", "day", "hour", "minute", "second", "weekday", "yearday"]
    assert_same_bits(*encode_both("timestamp", "keep", {"timestampParts": {"parts": parts}}, values, "float64"))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.none(), instants), min_size=1, max_size=12))
def test_timestamp_cycles_are_within_a_billionth(values: list[float | None]) -> None:
    encode = {"timestampCycles": {"periods": ["day", "week", "month", "year"]}}
    got, expected = encode_both("timestamp", "keep", encode, values, "float64")
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)

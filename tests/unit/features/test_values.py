"""What counts as which type, and what is refused by row and name."""

import base64
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.columns import FEATURE_DTYPES, Column
from penstock.errors import InvalidInput
from penstock.features.values import column_from_array, column_of

TAKEN: list[tuple[str, list[Any], list[Any]]] = [
    ("string", ["a", "", None, "é", "NaN"], ["a", "", None, "é", "NaN"]),
    ("bool", [True, None, False], [True, None, False]),
    ("int64", [1, 2**63 - 1, -(2**63), None], [1, 2**63 - 1, -(2**63), None]),
    ("int64", [3.0, 1, math.nan], [3, 1, None]),
    ("int64", [2.0**53], [2**53]),
    ("int32", [2**31 - 1, -(2**31)], [2**31 - 1, -(2**31)]),
    ("float64", [1, 2.5, None, math.inf, math.nan], [1.0, 2.5, None, math.inf, None]),
    ("float32", [1, -math.inf, None], [1.0, -math.inf, None]),
    ("timestamp", [0, 1.5, None], [0.0, 1.5, None]),
    ("timestamp", ["1970-01-01T00:00:01Z", "1970-01-02", "1970-01-01T02:00:00+02:00"], [1.0, 86400.0, 0.0]),
    ("timestamp", [datetime(1970, 1, 1), datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))], [0.0, 0.0]),
    (
        "image",
        [b"\x89", base64.b64encode(b"\x89P").decode(), "data:image/png;base64,iVA=", None],
        [b"\x89", b"\x89P", b"\x89P", None],
    ),
    ("int64", [np.int64(4), np.float32(2.0)], [4, 2]),
    ("float32", [np.float64(0.5), 1], [0.5, 1.0]),
]

REFUSED: list[tuple[str, Any, str]] = [
    ("string", 3, "expected text, got 3"),
    ("string", b"a", "expected text"),
    ("string", True, "expected text, got True"),
    ("string", "\ud800", "lone surrogate"),
    ("string", math.nan, "expected text, got nan"),
    ("bool", 1, "expected true or false, got 1"),
    ("bool", "true", "expected true or false"),
    ("int64", True, "expected an integer, got True"),
    ("int64", "3", "expected an integer, got '3'"),
    ("int64", 3.5, "expected an integer, got 3.5"),
    ("int64", 2.0**54, "expected an integer"),
    ("int64", 2**63, "expected an integer of 64 bits"),
    ("int64", math.inf, "expected an integer, got inf"),
    ("int32", 2**31, "expected an integer of 32 bits"),
    ("float64", True, "expected a number, got True"),
    ("float64", "1", "expected a number, got '1'"),
    ("float64", 10**400, "expected a number that float64 can hold"),
    ("float32", 1e39, "expected a number that float32 can hold"),
    ("float32", 10**39, "expected a number that float32 can hold"),
    ("timestamp", "yesterday", "expected a time such as 2026-01-31"),
    ("timestamp", True, "expected seconds since 1970"),
    ("timestamp", 1e12, "expected a time in the years 1 to 9999"),
    ("timestamp", math.inf, "expected a time in the years 1 to 9999"),
    ("timestamp", 10**400, "expected a time in the years 1 to 9999"),
    ("image", "not base64!", "expected an image as base64"),
    ("image", 7, "expected an image as base64, got 7"),
    ("float32", [1.0], "expected a number"),
    ("string", {"a": 1}, "expected text"),
]


@pytest.mark.parametrize(("feature_type", "values", "expected"), TAKEN, ids=str)
def test_values_that_are_of_the_type(feature_type: str, values: list[Any], expected: list[Any]) -> None:
    column = column_of(values, feature_type, "f")
    assert column.to_list() == expected
    assert column.values.dtype == FEATURE_DTYPES[feature_type]
    assert column.missing.tolist() == [value is None for value in expected]


@pytest.mark.parametrize(("feature_type", "value", "said"), REFUSED, ids=str)
@pytest.mark.parametrize("beside", [[], [None]])
def test_values_that_are_not_are_refused_by_row_and_name(feature_type: str, value: Any, said: str, beside: list[Any]) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        column_of([*beside, value], feature_type, "f")
    assert caught.value.field == f"rows[{len(beside)}].f"


@given(
    st.sampled_from(list(FEATURE_DTYPES)),
    st.lists(st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.booleans()), max_size=8),
)
def test_any_values_give_a_column_or_one_clear_error(feature_type: str, values: list[Any]) -> None:
    try:
        column = column_of(values, feature_type, "f")
    except InvalidInput as error:
        row = int(str(error.field).removeprefix("rows[").removesuffix("].f"))
        # What is refused among others is refused alone, and so is nothing before it.
        with pytest.raises(InvalidInput):
            column_of([values[row]], feature_type, "f")
        column_of(values[:row], feature_type, "f")
        return
    assert len(column.values) == len(column.missing) == len(values)
    assert all(column.missing[i] for i, value in enumerate(values) if value is None)


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=8))
def test_integers_are_exact(values: list[int | None]) -> None:
    assert column_of(values, "int64", "f").to_list() == values


def test_no_rows_make_an_empty_column() -> None:
    for feature_type, dtype in FEATURE_DTYPES.items():
        column = column_of([], feature_type, "f")
        assert column.values.shape == (0,)
        assert column.values.dtype == dtype


def test_lists() -> None:
    column = column_of([[1, 2], None, []], "list<int64>", "f", length=2)
    assert [array.tolist() for array in column.values] == [[1, 2], [], []]
    assert column.missing.tolist() == [False, True, False]
    for value, field, said in [
        ([1, 2, 3], "rows[0].f", "at most 2 elements, got 3"),
        ([1, "a"], "rows[0].f[1]", "expected an integer"),
        ([1, None], "rows[0].f[1]", "expected a value, got nothing"),
        ("ab", "rows[0].f", "expected a list"),
    ]:
        with pytest.raises(InvalidInput, match=said) as caught:
            column_of([value], "list<int64>", "f", length=2)
        assert caught.value.field == field


FRAMES: list[tuple[str, Any, list[Any]]] = [
    ("int64", np.array([1.0, np.nan, 3.0]), [1, None, 3]),
    ("int64", np.array([1, 2], np.int32), [1, 2]),
    ("float32", np.array([1.5, np.nan], np.float32), [1.5, None]),
    ("float32", np.array([0.5, np.nan], np.float64), [0.5, None]),
    ("float64", np.array([1, 2], np.int32), [1.0, 2.0]),
    ("string", pd.Series(["a", None, np.nan]), ["a", None, None]),
    ("string", pd.Series(["a", None], dtype="string"), ["a", None]),
    ("string", pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
    ("bool", np.array([True, False]), [True, False]),
    ("bool", pd.Series([True, None], dtype="boolean"), [True, None]),
    ("int64", pd.Series([1, None], dtype="Int64"), [1, None]),
    ("timestamp", pd.to_datetime(pd.Series(["1970-01-01 00:00:01.5", None])), [1.5, None]),
    ("timestamp", pd.to_datetime(pd.Series(["1970-01-01 00:00:01"]), utc=True), [1.0]),
    ("timestamp", pd.Series([datetime(1970, 1, 1, tzinfo=UTC)], dtype=object), [0.0]),
    ("timestamp", np.array([5, 6]), [5.0, 6.0]),
]


@pytest.mark.parametrize(("feature_type", "array", "expected"), FRAMES, ids=str)
def test_columns_of_data_frames(feature_type: str, array: Any, expected: list[Any]) -> None:
    column = column_from_array(array, feature_type, "f")
    assert isinstance(column, Column)
    assert column.to_list() == expected
    assert column.values.dtype == FEATURE_DTYPES[feature_type]


@pytest.mark.parametrize(
    ("feature_type", "array"),
    [
        ("float32", np.array([True])),
        ("int64", np.array([1.5])),
        ("int32", np.array([2**40])),
        ("string", np.array([1, 2])),
        ("float32", np.array([1e300])),
        ("bool", np.array([1, 0])),
    ],
    ids=str,
)
def test_columns_of_another_type_are_refused(feature_type: str, array: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        column_from_array(array, feature_type, "f")
    assert caught.value.field == "rows[0].f"


def test_times_of_numpy_keep_the_rules_in_lists_and_in_arrays() -> None:
    good, gap, far = np.datetime64("2024-01-01T00:00:00", "ns"), np.datetime64("NaT"), np.datetime64("99999-01-01")
    for column in (
        column_of([good, gap], "timestamp", "t"),
        column_from_array(np.array([good, gap], "datetime64[s]"), "timestamp", "t"),
    ):
        assert column.missing.tolist() == [False, True]
        assert column.values[0] == 1704067200.0
        assert np.isnan(column.values[1])
    with pytest.raises(InvalidInput, match=r"rows\[1\]\.t"):
        column_of([good, far], "timestamp", "t")
    with pytest.raises(InvalidInput, match=r"rows\[2\]\.t"):
        column_from_array(np.array([good, gap, far], "datetime64[D]"), "timestamp", "t")

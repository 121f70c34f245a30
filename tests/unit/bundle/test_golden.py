"""golden.jsonl and profile.json: what goes in comes out, and what differs is found."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from penstock.bundle.golden import first_difference, read_golden, same_prediction, stack, write_golden
from penstock.bundle.profile import describe_column, write_profile
from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.values import column_of

WIDE = np.array([[0.1, math.nan], [math.inf, -math.inf]], np.float32)


def test_tensors_come_back_bit_for_bit() -> None:
    words = np.array([["é"], ["\x00b"]], object)
    data = write_golden([{"f": 1}, {"f": None}], {"x": WIDE, "w": words}, {"y": WIDE}, [{"value": 1.0}, {"value": None}], 5.0)
    examples = read_golden(data)
    made = stack([example.tensors for example in examples], {"x": np.dtype(np.float32), "w": np.dtype(object)})
    np.testing.assert_array_equal(made["x"], WIDE)
    assert made["w"].tolist() == words.tolist()
    assert [example.row for example in examples] == [{"f": 1}, {"f": None}]
    assert examples[1].prediction == {"value": None}
    assert examples[0].now == 5.0
    assert all(json.loads(line, parse_constant=pytest.fail) for line in data.splitlines())


@given(hnp.arrays(np.float64, (3, 2)), hnp.arrays(np.int64, (3,)))
def test_any_numbers_come_back(floats: Any, integers: Any) -> None:
    data = write_golden([{}] * 3, {"f": floats, "i": integers}, {}, [], None)
    made = stack([example.tensors for example in read_golden(data)], {"f": np.dtype(np.float64), "i": np.dtype(np.int64)})
    np.testing.assert_array_equal(made["f"], floats)
    np.testing.assert_array_equal(made["i"], integers)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "golden.jsonl line 1: not JSON"),
        ('{"tensors": {}, "outputs": {}, "now": "noon"}', "golden.jsonl line 1: now: expected seconds"),
        ("\n[]", "golden.jsonl line 2: expected an object with tensors and outputs"),
        ('{"tensors": {}}', "expected an object with tensors and outputs"),
        ('{"tensors": {}, "outputs": {}, "row": 3}', "expected row and prediction to be objects"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_lines_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_golden(text.encode())


@pytest.mark.parametrize(("value", "dtype"), [(10**30, np.int64), (300, np.uint8), (-1, np.uint32)])
def test_numbers_beyond_a_tensors_type_are_refused(value: int, dtype: Any) -> None:
    with pytest.raises(InvalidInput, match=r"golden\.jsonl: x: expected"):
        stack([{"x": value}], {"x": np.dtype(dtype)})


def test_tensors_that_do_not_stack_are_refused() -> None:
    for examples, said in [
        ([{"x": 1}, {}], "is not in every line"),
        ([{"x": [1]}, {"x": [1, 2]}], "of one shape"),
        ([{"x": "a"}], "expected"),
    ]:
        with pytest.raises(InvalidInput, match=said):
            stack(examples, {"x": np.dtype(np.float32)})


def test_differences_are_found_and_rounding_is_not_one() -> None:
    x = np.array([[1.0, 100.0], [math.nan, math.inf]], np.float32)
    assert first_difference(x, x.copy()) is None
    assert first_difference(x, x * np.float32(1 + 1e-6)) is None
    for row, column, value in [(0, 0, 1.1), (1, 0, 0.0), (1, 1, -math.inf), (1, 1, 3.0), (0, 1, math.nan)]:
        other = x.copy()
        other[row, column] = value
        assert first_difference(x, other) == row
    assert first_difference(x, x[:, :1]) == 0
    assert first_difference(np.array(["a", "b"], object), np.array(["a", "c"], object)) == 1
    assert first_difference(np.array([1, 2]), np.array([1, 2])) is None


def test_predictions_are_compared_up_to_rounding() -> None:
    one = {"label": "late", "scores": {"late": 0.5}, "value": None, "list": [1, True]}
    assert same_prediction(one, {"label": "late", "scores": {"late": 0.5000001}, "value": None, "list": [1.0, True]})
    for other in (
        {**one, "label": "x"},
        {**one, "scores": {"late": 0.6}},
        {"label": "late"},
        {**one, "list": [1]},
        {**one, "value": 1},
    ):
        assert not same_prediction(one, other)


def test_columns_are_described() -> None:
    described = describe_column(column_of([1.0, 2.0, 3.0, None], "float64", "f"))
    assert (described["missing"], described["count"], described["min"], described["max"], described["mean"]) == (
        0.25,
        3,
        1.0,
        3.0,
        2.0,
    )
    assert sum(described["counts"]) == 3
    assert len(described["edges"]) == len(described["counts"]) + 1
    assert describe_column(column_of(["b", "a", "a", None], "string", "f")) == {
        "missing": 0.25,
        "values": {"a": 2, "b": 1},
        "distinct": 2,
    }
    assert describe_column(column_of([True, False, True], "bool", "f"))["values"] == {"true": 2, "false": 1}
    assert describe_column(column_of([None], "float64", "f")) == {"missing": 1.0, "count": 0}
    assert describe_column(column_of([5.0, 5.0], "float64", "f"))["counts"] == [2]
    assert describe_column(Column(np.empty(0), np.empty(0, bool)))["missing"] == 0.0


def test_predictions_are_described() -> None:
    for predictions, name, expected in [
        (
            [{"label": "a", "scores": {"a": 0.25}}, {"label": "b", "scores": {"a": 0.75}}],
            "labels",
            {"values": {"a": 1, "b": 1}, "distinct": 2},
        ),
        ([{"value": True}, {"value": None}], "values", {"values": {"true": 1}, "distinct": 1}),
    ]:
        assert json.loads(write_profile(None, {}, predictions))["predictions"][name] == expected
    described = json.loads(write_profile(None, {}, [{"value": 1.0}, {"value": 2.0}, {"value": None}]))
    assert described["rows"] == 3
    assert described["predictions"]["values"]["count"] == 2

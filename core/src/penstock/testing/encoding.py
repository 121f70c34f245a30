"""Values that break encoders, and an encoder's graph beside its numpy definition on them: for property tests.

    strategies (VALUES by feature type) -> encode_both -> (what the graph gives, what the definition gives)

Needs hypothesis, and the package onnx.
"""

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from penstock.columns import Column
from penstock.features.definition import define
from penstock.features.document import write_document
from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec
from penstock.features.values import column_of
from penstock.tensors import Array

NASTY_TEXT = [
    "",
    " ",
    "a",
    "A",
    "NaN",
    "None",
    "nan",
    "null",
    "é",
    "e\u0301",
    "ß",
    "日本",
    "🛩️",
    "a\x00b",
    "a\x00",
    "\u2028",
    "3.0",
    "true",
]
NASTY_FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    1e-300,
    5e-324,
    1e-17,
    1e-10,
    1e16,
    1e300,
    -1e300,
    math.inf,
    -math.inf,
    math.nan,
    0.5,
    -0.999,
]
NASTY_INTEGERS = [0, 1, -1, 2**31 - 1, -(2**31), 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]

texts = st.one_of(st.sampled_from(NASTY_TEXT), st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
doubles = st.one_of(st.sampled_from(NASTY_FLOATS), st.floats(allow_nan=True, allow_infinity=True), st.floats(-1000, 1000))
singles = st.one_of(st.sampled_from([0.0, -0.0, 0.1, 1e-30, 3e38, math.inf, -math.inf, math.nan]), st.floats(width=32))
longs = st.one_of(st.sampled_from(NASTY_INTEGERS), st.integers(-(2**63), 2**63 - 1), st.integers(-20, 20))
ints = st.one_of(st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]), st.integers(-(2**31), 2**31 - 1), st.integers(-20, 20))
instants = st.one_of(
    st.sampled_from([0.0, -0.5, 951782399.999, 951782400.0, 1709164800.25, -62135596800.0, 253402300799.0, 4107542399.0]),
    st.floats(-62135596800, 253402300799),
    st.integers(-(10**10), 10**10).map(float),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": texts,
    "bool": st.booleans(),
    "int32": ints,
    "int64": longs,
    "float32": singles,
    "float64": doubles,
    "timestamp": instants,
}
DEFAULTS: dict[str, Any] = {
    "string": "??", "bool": True, "int32": 7, "int64": -(2**63), "float32": 0.1, "float64": 1e-300, "timestamp": 86399.5
}  # fmt: skip
NUMERIC = ("bool", "int32", "int64", "float32", "float64", "timestamp")
EVERY = ("string", *NUMERIC)
CATEGORIES: dict[str, list[Any]] = {
    "string": ["a", "", "é", "NaN", "a\x00b", "🛩️", "e\u0301"],
    "bool": [True, False],
    "int32": [1, -1, 2**31 - 1],
    "int64": [0, 2**63 - 1, -(2**63), 2**53 + 1],
    "float32": [0.1, -1.0, math.inf],
    "float64": [0.1, 0.0, 1e300, -math.inf],
    "timestamp": [0.0, 951782400.0],
}


def encode_both(
    feature_type: str,
    policy: str,
    encode: Any,
    values: list[Any],
    tensor_type: str | None = None,
    more: dict[str, Any] | None = None,
) -> tuple[Array, Array]:
    """(graph, definition) of one feature's values, and of the features that it is paired with."""
    missing: Any = {"default": DEFAULTS[feature_type]} if policy == "default" else policy
    columns = {"f": (feature_type, missing, encode, values)} | (more or {})
    features = [{"name": n, "from": "request", "type": t, "missing": m, "encode": e} for n, (t, m, e, _) in columns.items()]
    tensor = {"features": ["f"], "type": tensor_type} if tensor_type else ["f"]
    made = {name: column_of(each[3], each[0], name) for name, each in columns.items()}
    return encode_spec(features, tensor, made)


def encode_spec(features: list[dict[str, Any]], tensor: Any, columns: dict[str, Column]) -> tuple[Array, Array]:
    """(graph, definition) of the one tensor of a spec with these features."""
    spec = read_spec(write_document({"formatVersion": 1, "features": features, "tensors": {"x": tensor}}))
    encoder = Encoder.compiled(spec)
    return encoder.encode(columns)["x"], define(encoder.plan, columns)["x"]


def assert_same_bits(got: Array, expected: Array) -> None:
    """Equal in type, shape and every bit, but for which NaN and which zero it is: ONNX Runtime's Where makes 0.0 of -0.0."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if got.dtype == object:
        assert got.tolist() == expected.tolist()
        return
    if got.dtype.kind == "f":
        assert np.array_equal(np.isnan(got), np.isnan(expected)), (got, expected)
        got, expected = (np.where(np.isnan(array), array.dtype.type(7), array) + array.dtype.type(0) for array in (got, expected))
    assert got.tobytes() == expected.tobytes(), (got, expected)


def rows_of(data: st.DataObject, feature_type: str, policy: str) -> list[Any]:
    """Some rows of a type, drawn; without missing values where the policy refuses them."""
    element = VALUES[feature_type]
    if policy != "reject":
        element = st.one_of(st.none(), element)
    elif feature_type.startswith("float"):
        element = element.filter(lambda value: value == value)
    return data.draw(st.lists(element, min_size=1, max_size=12))

"""Each encoding's graph, held to its numpy definition on values that break encoders: exactly, or within the bound it states."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from penstock.features.definition import define
from penstock.features.document import write_document
from penstock.features.encoder import Encoder
from penstock.features.encodings import ENCODINGS
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

texts = st.one_of(st.sampled_from(NASTY_TEXT), st.text(st.characters(exclude_categories=("Cs",)), max_size=8))
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
    spec = read_spec(write_document({"formatVersion": 1, "features": features, "tensors": {"x": tensor}}))
    encoder = Encoder.compiled(spec)
    made = {name: column_of(each[3], each[0], name) for name, each in columns.items()}
    return encoder.encode(made)["x"], define(encoder.plan, made)["x"]


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
    element = VALUES[feature_type]
    if policy != "reject":
        element = st.one_of(st.none(), element)
    elif feature_type.startswith("float"):
        element = element.filter(lambda value: value == value)
    return data.draw(st.lists(element, min_size=1, max_size=12))


number = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)
EXACT: list[tuple[str, tuple[str, ...], st.SearchStrategy[Any]]] = [
    ("passthrough", NUMERIC, st.just("passthrough")),
    ("standardise", NUMERIC, st.fixed_dictionaries({"mean": number, "std": positive}).map(lambda p: {"standardise": p})),
    ("robustScale", NUMERIC, st.fixed_dictionaries({"center": number, "scale": positive}).map(lambda p: {"robustScale": p})),
    (
        "minMax",
        NUMERIC,
        st.tuples(number, positive, st.booleans()).map(
            lambda p: {"minMax": {"min": p[0], "max": p[0] + p[1], "range": [-1, 2.5], "clip": p[2]}}
        ),
    ),
    (
        "clip",
        NUMERIC,
        st.sampled_from([{"clip": {"min": -1, "max": 10}}, {"clip": {"min": 0.5}}, {"clip": {"max": -0.0}}]),
    ),
    ("cast", NUMERIC, st.sampled_from(["float32", "float64"]).map(lambda to: {"cast": {"to": to}})),
    (
        "bucketise",
        NUMERIC,
        st.lists(number, min_size=1, max_size=6, unique=True).map(lambda e: {"bucketise": {"edges": sorted(e), "missing": -5}}),
    ),
]


@pytest.mark.parametrize("policy", ["reject", "default", "keep"])
@pytest.mark.parametrize(("kind", "feature_type", "encode"), [(k, t, e) for k, types, e in EXACT for t in types])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_arithmetic_is_exact(
    kind: str, feature_type: str, encode: st.SearchStrategy[Any], policy: str, data: st.DataObject
) -> None:
    values = rows_of(data, feature_type, policy)
    tensor_type = (
        None if kind in ("passthrough", "cast", "bucketise") else data.draw(st.sampled_from(["float32", "float64", "float16"]))
    )
    assert_same_bits(*encode_both(feature_type, policy, data.draw(encode), values, tensor_type))


CATEGORICAL = {
    "oneHot": [{}, {"unseen": "other"}, {"missing": "own"}, {"unseen": "other", "missing": "own"}, {"missing": "other"}],
    "ordinal": [
        {},
        {"unseen": -7, "missing": -9},
        {"unseen": math.nan},
        {"missing": math.nan},
        {"unseen": math.nan, "missing": -1},
    ],
    "embeddingIndex": [{}, {"start": 0, "unseen": 9}],
    "targetEncoding": [{"unseen": 0.25}, {"unseen": 0.1, "missing": -1e-300}],
}


@pytest.mark.parametrize("policy", ["reject", "default", "keep"])
@pytest.mark.parametrize("feature_type", EVERY)
@pytest.mark.parametrize("kind", CATEGORICAL)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_categories_are_exact(kind: str, feature_type: str, policy: str, data: st.DataObject) -> None:
    if kind == "embeddingIndex" and feature_type in ("float32", "float64", "timestamp"):
        return
    categories = CATEGORIES[feature_type]
    parameters = {"categories": categories} | data.draw(st.sampled_from(CATEGORICAL[kind]))
    if kind == "targetEncoding":
        parameters["values"] = [index / 3 - 1 for index in range(len(categories))]
    values = rows_of(data, feature_type, policy) + categories
    tensor_type = "float64" if kind == "targetEncoding" else None
    assert_same_bits(*encode_both(feature_type, policy, {kind: parameters}, values, tensor_type))


@pytest.mark.parametrize("policy", ["reject", "default", "keep"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_index_by_size_is_exact(policy: str, data: st.DataObject) -> None:
    feature_type = data.draw(st.sampled_from(["int32", "int64"]))
    encode = {"embeddingIndex": {"size": data.draw(st.integers(1, 30)), "unseen": 3}}
    assert_same_bits(*encode_both(feature_type, policy, encode, rows_of(data, feature_type, policy)))


@pytest.mark.parametrize("to", ["bool", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("feature_type", NUMERIC)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_cast_is_exact(to: str, feature_type: str, data: st.DataObject) -> None:
    policy = data.draw(st.sampled_from(["reject", "default"]))
    assert_same_bits(*encode_both(feature_type, policy, [{"cast": {"to": to}}], rows_of(data, feature_type, policy)))


@settings(max_examples=200, deadline=None)
@given(st.lists(doubles, min_size=1, max_size=20))
@example([-1.0, -1.0000001, 1e-300, 5e-324, 1e308, math.inf, -math.inf, math.nan, -0.0, 0.0, 2**53, -0.9999999999999999])
def test_log1p_is_within_four_units_in_the_last_place(values: list[float]) -> None:
    got, expected = encode_both("float64", "keep", "log1p", values, "float64")
    close = np.isfinite(expected)
    assert np.array_equal(got[~close], expected[~close], equal_nan=True)
    assert (np.abs(got[close] - expected[close]) <= 4 * np.spacing(np.abs(expected[close]))).all()


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


@pytest.mark.parametrize("kind", ["difference", "product", "ratio"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pairs_are_exact(kind: str, data: st.DataObject) -> None:
    first, second = data.draw(st.sampled_from(NUMERIC)), data.draw(st.sampled_from(NUMERIC))
    values = rows_of(data, first, "keep")
    others = data.draw(st.lists(st.one_of(st.none(), VALUES[second]), min_size=len(values), max_size=len(values)))
    parameters = {"with": "g"} | ({"zero": data.draw(st.sampled_from([0, -1.5, math.nan, math.inf]))} if kind == "ratio" else {})
    more = {"g": (second, data.draw(st.sampled_from(["keep", {"default": DEFAULTS[second]}])), [], others)}
    assert_same_bits(*encode_both(first, "keep", {kind: parameters}, values, "float64", more))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 255), min_size=2 * 4 * 6 * 3, max_size=2 * 4 * 6 * 3),
    st.sampled_from([[4, 6], [2, 2], [3, 5], [1, 1]]),
    st.sampled_from(["nchw", "nhwc"]),
)
def test_image_is_within_two_units_in_the_last_place(pixels: list[int], crop: list[int], layout: str) -> None:
    step = {"resize": [4, 6], "crop": crop, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "layout": layout}
    features = [{"name": "photo", "from": "request", "type": "image", "encode": {"image": step}}]
    spec = read_spec(write_document({"formatVersion": 1, "features": features, "tensors": {"x": ["photo"]}}))
    encoder = Encoder.compiled(spec)
    array = np.array(pixels, np.uint8).reshape(2, 4, 6, 3)
    columns = {"photo": type(column_of([None], "string", "s"))(array, np.zeros(2, bool))}
    got, expected = encoder.encode(columns)["x"], define(encoder.plan, columns)["x"]
    assert got.shape == ((2, 3, *crop) if layout == "nchw" else (2, *crop, 3))
    np.testing.assert_array_max_ulp(got, expected, maxulp=2)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_text_passes_through_unharmed(data: st.DataObject) -> None:
    policy = data.draw(st.sampled_from(["reject", "default"]))
    assert_same_bits(*encode_both("string", policy, "passthrough", rows_of(data, "string", policy)))


LISTS: dict[str, list[Any]] = {
    "float32": ["passthrough", {"standardise": {"mean": 2, "std": 3}}, "log1p"],
    "int64": [
        "passthrough",
        {"embeddingIndex": {"size": 10, "unseen": 0}},
        {"embeddingIndex": {"categories": [3, 1], "unseen": 0}},
    ],
    "string": ["passthrough", {"embeddingIndex": {"categories": ["a", ""], "unseen": 0}}],
    "bool": ["passthrough"],
}


@pytest.mark.parametrize("element", LISTS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_lists_are_padded_alike(element: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(LISTS[element]))
    policy: Any = data.draw(st.sampled_from(["reject", {"default": [DEFAULTS[element]]}]))
    values = st.lists(VALUES[element], max_size=4)
    rows = data.draw(st.lists(values if policy == "reject" else st.one_of(st.none(), values), min_size=1, max_size=6))
    feature = {"name": "f", "from": "request", "type": f"list<{element}>", "length": 4, "missing": policy, "encode": kind}
    spec = read_spec(write_document({"formatVersion": 1, "features": [feature], "tensors": {"x": ["f"]}}))
    encoder = Encoder.compiled(spec)
    columns = {"f": column_of(rows, f"list<{element}>", "f", length=4)}
    got, expected = encoder.encode(columns)["x"], define(encoder.plan, columns)["x"]
    if kind == "log1p":
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    else:
        assert_same_bits(got, expected)


steps = st.sampled_from(
    [
        [],
        ["log1p", {"standardise": {"mean": 1, "std": 2}}],
        [{"standardise": {"mean": 0.5, "std": 3}}],
        [{"standardise": {"mean": -5, "std": 0.1}}, {"clip": {"min": -2, "max": 2}}],
        [{"clip": {"max": 2}}, {"minMax": {"min": 0, "max": 3}}],
        [{"bucketise": {"edges": [0, 1]}}, {"oneHot": {"categories": [0, 1, 2]}}],
        ["passthrough", {"robustScale": {"center": 1, "scale": 2}}],
    ]
)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_many_features_computed_together_are_the_same_as_apart(data: st.DataObject) -> None:
    count, rows = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4))
    features, columns = [], {}
    for index in range(count):
        feature_type = data.draw(st.sampled_from(NUMERIC))
        policy = data.draw(st.sampled_from(["keep", {"default": DEFAULTS[feature_type]}]))
        name = f"f{index}"
        features.append({"name": name, "from": "request", "type": feature_type, "missing": policy, "encode": data.draw(steps)})
        values = data.draw(st.lists(st.one_of(st.none(), VALUES[feature_type]), min_size=rows, max_size=rows))
        columns[name] = column_of(values, feature_type, name)
    order = data.draw(st.permutations([f"f{index}" for index in range(count)]))
    tensors = {"x": {"features": order, "type": "float64"}, "y": {"features": order[: count // 2 + 1], "type": "float32"}}
    spec = read_spec(write_document({"formatVersion": 1, "features": features, "tensors": tensors}))
    encoder = Encoder.compiled(spec)
    got, expected = encoder.encode(columns), define(encoder.plan, columns)
    for name in tensors:
        assert got[name].dtype == expected[name].dtype
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-14 if name == "x" else 1e-6)


def test_every_encoding_is_held_to_its_definition_here() -> None:
    tested = {kind for kind, _, _ in EXACT} | set(CATEGORICAL)
    tested |= {"log1p", "timestampParts", "timestampCycles", "difference", "product", "ratio", "image"}
    assert tested == set(ENCODINGS)

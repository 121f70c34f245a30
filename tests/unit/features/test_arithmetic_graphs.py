"""Graphs of arithmetic, held to their numpy definition on values that break encoders: bit for bit, or within the stated bound."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from penstock.features.definition import define
from penstock.features.document import write_document
from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec
from penstock.features.values import column_of
from penstock.testing.encoding import (
    DEFAULTS,
    NUMERIC,
    VALUES,
    assert_same_bits,
    doubles,
    encode_both,
    rows_of,
)

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


quantiles = st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 5e-324, -1e300, 1e300])), min_size=2, max_size=12)


@pytest.mark.parametrize("policy", ["reject", "default", "keep"])
@pytest.mark.parametrize("feature_type", NUMERIC)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_quantile_map_is_exact(feature_type: str, policy: str, data: st.DataObject) -> None:
    known = sorted(data.draw(quantiles))
    repeated = sorted([*known, *data.draw(st.lists(st.sampled_from(known), max_size=4))])
    values = rows_of(data, feature_type, policy)
    if feature_type == "float64":
        values += [*known, known[0] - 1, known[-1] + 1, (known[0] + known[1]) / 2]
    assert_same_bits(*encode_both(feature_type, policy, {"quantileMap": {"quantiles": repeated}}, values, "float64"))


@pytest.mark.parametrize("kind", ["difference", "product", "ratio"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pairs_are_exact(kind: str, data: st.DataObject) -> None:
    first, second = data.draw(st.sampled_from(NUMERIC)), data.draw(st.sampled_from(NUMERIC))
    values = rows_of(data, first, "keep")
    others = data.draw(st.lists(st.one_of(st.none(), VALUES[second]), min_size=len(values), max_size=len(values)))
    parameters = {"with": "g"} | ({"zero": data.draw(st.sampled_from([0, -1.5, math.nan, math.inf]))} if kind == "ratio" else {})
    more: dict[str, Any] = {"g": (second, data.draw(st.sampled_from(["keep", {"default": DEFAULTS[second]}])), [], others)}
    assert_same_bits(*encode_both(first, "keep", {kind: parameters}, values, "float64", more))


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
    features: list[dict[str, Any]] = []
    columns: dict[str, Any] = {}
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

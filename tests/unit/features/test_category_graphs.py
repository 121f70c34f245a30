"""Graphs of categories, held to their numpy definition: exactly."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.testing.encoding import CATEGORIES, EVERY, assert_same_bits, encode_both, rows_of

CATEGORICAL: dict[str, list[dict[str, Any]]] = {
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

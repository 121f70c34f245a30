"""Fitting: a draft and rows to a whole spec, step behind step, behind the defaults."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from penstock.errors import InvalidInput
from penstock.features.encoder import Encoder
from penstock.features.fitting import fit_spec
from penstock.features.reading import read_spec, write_spec

DRAFT = """
formatVersion: 1
features:
  - {name: distance, from: request, type: float64, encode: [log1p, standardise]}
  - {name: carrier, from: request, type: string, missing: {default: "??"}, encode: oneHot}
  - {name: rare, from: request, type: string, missing: keep, encode: {ordinal: {minCount: 2}}}
  - {name: seats, from: request, type: int64, missing: {default: 10}, encode: {minMax: {min: 0}}}
  - {name: speed, from: request, type: float32, missing: keep, encode: [{ratio: {with: distance}}, robustScale]}
  - {name: age, from: request, type: float64, encode: [{bucketise: {buckets: 4}}, {oneHot: {categories: [0, 1, 2, 3]}}]}
  - {name: town, from: request, type: string, encode: {targetEncoding: {smoothing: 0}}}
  - {name: user, from: request, type: int64, encode: embeddingIndex}
  - {name: fixed, from: request, type: float32, encode: {standardise: {mean: 5, std: 7}}}
tensors: {x: [distance, carrier, rare, seats, speed, age, town, user, fixed]}
"""


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "distance": [1.0, 3.0, 7.0, 15.0],
            "carrier": ["AA", None, "NO", "AA"],
            "rare": ["a", "b", "b", None],
            "seats": [100.0, np.nan, 50.0, 200.0],
            "speed": [1.0, 3.0, np.nan, 15.0],
            "age": [1.0, 2.0, 3.0, 4.0],
            "town": ["x", "x", "y", "y"],
            "user": [9, 3, 9, 3],
            "fixed": [1.0, 1.0, 1.0, 1.0],
            "late": [True, False, True, True],
        }
    )


def parameters(spec: Any, name: str, step: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = next(f for f in spec.features if f.name == name).encode[step].parameters
    return found


def test_what_the_draft_leaves_out_is_computed() -> None:
    told: list[str] = []
    spec = fit_spec(read_spec(DRAFT, draft=True), frame(), target="late", progress=told.append)
    logs = np.log1p([1, 3, 7, 15])
    assert parameters(spec, "distance", 1) == {"mean": pytest.approx(logs.mean()), "std": pytest.approx(logs.std())}
    assert parameters(spec, "carrier") == {"categories": ["??", "AA", "NO"]}
    assert parameters(spec, "rare") == {"categories": ["b"], "minCount": 2}
    assert parameters(spec, "seats") == {"min": 0, "max": 200.0}
    assert parameters(spec, "speed", 1) == {"center": 1.0, "scale": 1.0}
    assert parameters(spec, "age") == {"edges": [1.75, 2.5, 3.25], "buckets": 4}
    assert parameters(spec, "town") == {"categories": ["x", "y"], "values": [0.5, 1.0], "unseen": 0.75, "smoothing": 0}
    assert parameters(spec, "user") == {"categories": [3, 9]}
    assert parameters(spec, "fixed") == {"mean": 5, "std": 7}
    assert told[:2] == ["distance", "carrier"]


def test_features_in_no_tensor_need_no_data_but_no_open_encoding_either() -> None:
    shown = "  - {name: shown, from: request, type: string}\ntensors"
    fit_spec(read_spec(DRAFT.replace("tensors", shown), draft=True), frame(), target="late")
    shown = shown.replace("string}", "string, encode: oneHot}")
    with pytest.raises(InvalidInput, match=r"features\[9\].encode.oneHot.categories: is required"):
        fit_spec(read_spec(DRAFT.replace("tensors", shown), draft=True), frame(), target="late")


def test_the_fitted_spec_reads_back_and_encodes() -> None:
    spec = fit_spec(read_spec(DRAFT, draft=True), frame(), target="late")
    assert read_spec(write_spec(spec)) == spec
    assert fit_spec(spec, frame()) == spec
    x = Encoder.compiled(spec).encode_frame(frame())["x"]
    assert x.shape == (4, 14)
    np.testing.assert_allclose(x[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(x[:, 0].std(), 1, atol=1e-6)


def one(feature: str) -> Any:
    return read_spec(f"formatVersion: 1\nfeatures:\n  - {{name: f, from: request, {feature}}}\ntensors: {{x: [f]}}", draft=True)


@pytest.mark.parametrize(
    ("feature", "values", "field", "said"),
    [
        ("type: float32, encode: standardise", [None, None], "f", "every row lacks a value"),
        (
            "type: float32, missing: keep, encode: standardise",
            [None, None],
            "features[0].encode.standardise",
            "no finite training values",
        ),
        ("type: string, missing: keep, encode: oneHot", [None, None], "features[0].encode.oneHot", "no training values"),
        ("type: string, encode: targetEncoding", ["a", "b"], "features[0].encode.targetEncoding", "--target"),
        ("type: int64, encode: standardise", ["a", 1], "rows[0].f", "expected an integer"),
    ],
)
def test_what_cannot_be_fitted_is_refused(feature: str, values: list[Any], field: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        fit_spec(one(feature), {"f": np.array(values, object)})
    assert caught.value.field == field


def test_targets_are_checked() -> None:
    draft = one("type: string, encode: targetEncoding")
    for target, said in [
        ("y", "no column of this name"),
        ("gap", r"rows\[1\].gap: expected a value"),
        ("word", "expected numbers"),
    ]:
        with pytest.raises(InvalidInput, match=said):
            fit_spec(draft, {"f": ["a", "b"], "gap": [1.0, np.nan], "word": ["q", "r"]}, target=target)


def test_constant_features_get_a_span_of_one() -> None:
    for kind, expected in [
        ("standardise", {"mean": 3.0, "std": 1.0}),
        ("robustScale", {"center": 3.0, "scale": 1.0}),
        ("minMax", {"min": 3.0, "max": 3.0}),
    ]:
        spec = fit_spec(one(f"type: float32, encode: {kind}"), {"f": [3.0, 3.0]})
        assert parameters(spec, "f") == expected
        assert Encoder.compiled(spec).encode_frame({"f": [3.0, 4.0]})["x"].tolist() == [[0.0], [1.0]]

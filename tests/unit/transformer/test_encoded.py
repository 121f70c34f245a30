"""Which NaN behind the encoder is a fault, and whose."""

import numpy as np
import pytest

from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec
from penstock.features.values import column_of
from penstock_transformer.encoded import EncodedCheck


def faults(features: str, rows: dict[str, list[object]], tensors: str = "x: [a, b]") -> dict[int, tuple[str | None, str]]:
    """Fields and messages by row, for columns of values through the real encoder."""
    spec = read_spec(f"formatVersion: 1\nfeatures:\n{features}\ntensors: {{{tensors}}}\n")
    encoder = Encoder.compiled(spec)
    columns = {f.name: column_of(rows[f.name], f.type, f.name, length=f.length) for f in spec.features}
    found = EncodedCheck(encoder.plan).faults(encoder.encode(columns, checked=True), columns)
    return {row: (error.field, error.message) for row, error in found.items()}


def feature(name: str, missing: str = "reject", encode: str = "log1p", kind: str = "float64") -> str:
    return f"- {{name: {name}, from: request, type: {kind}, missing: {missing}, encode: {encode}}}\n"


ONE_HOT = "{oneHot: {categories: [u, v, w]}}"


def test_the_feature_is_found_by_its_columns() -> None:
    spec = feature("a", encode=ONE_HOT, kind="string") + feature("b", encode="[log1p, {clip: {max: 9}}]") + feature("c")
    rows: dict[str, list[object]] = {"a": ["u", "w", "x"], "b": [1.0, 2.0, -3.5], "c": [-7.0, 0.0, -8.0]}
    found = faults(spec, rows, "x: [a, b], z: {features: [c], rank: 1}")
    assert {row: field for row, (field, _) in found.items()} == {0: "rows[0].c", 2: "rows[2].b"}
    assert found[2][1] == "not a number after encoding (log1p, clip); expected a value that has an encoding, got -3.5"


def test_a_default_that_has_no_encoding_is_told_as_one() -> None:
    found = faults(feature("a", "{default: -4}") + feature("b"), {"a": [None, 1.0], "b": [0.0, 0.0]})
    assert list(found) == [0]
    assert found[0][0] == "rows[0].a"
    assert found[0][1].endswith("got the default -4")


@pytest.mark.parametrize(
    "spec",
    [
        feature("a", "keep") + feature("b"),
        feature("b", "keep", "passthrough") + feature("a", encode="{difference: {with: b}}"),
        feature("b", encode="passthrough") + feature("a", encode="{ratio: {with: b, zero: .nan}}"),
    ],
)
def test_nan_that_the_spec_allows(spec: str) -> None:
    missing = [None, 1.0] if "keep, encode: passthrough" in spec else [0.0, 1.0]
    assert faults(spec, {"a": [-2.0, 1.0], "b": missing}) == {}


def test_a_ratio_with_zero_is_a_fault_unless_it_says_otherwise() -> None:
    spec = feature("a", encode="{ratio: {with: b}}") + feature("b", encode="passthrough")
    assert faults(spec, {"a": [1.0, 1.0], "b": [2.0, 0.0]})[1][0] == "rows[1].a"


def test_infinity_passes() -> None:
    assert faults(feature("a") + feature("b"), {"a": [0.0, 0.5, 1.0], "b": [np.inf, -1.0, 0.0]}) == {}

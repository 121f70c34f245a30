"""Golden examples: read against the signature, refused by line and name."""

import json

import numpy as np
import pytest

from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput
from penstock_predictor.golden import read_examples

INPUTS = (TensorMetadata("x", "FP32", (-1, 2)), TensorMetadata("w", "BYTES", (-1,)))
OUTPUTS = (TensorMetadata("y", "INT64", (-1, 1)),)


def test_rows_with_and_without_their_first_axis() -> None:
    lines = [
        {"tensors": {"x": [1, None], "w": "ü"}, "outputs": {"y": [3]}},
        {"tensors": {"x": [[1, 2]], "w": ["v"]}, "outputs": {}},
    ]
    one, other = read_examples("\n\n".join(map(json.dumps, lines)).encode(), INPUTS, OUTPUTS)
    assert one.tensors["x"].shape == (1, 2)
    assert np.isnan(one.tensors["x"][0, 1])
    assert one.tensors["w"].tolist() == ["ü"]
    assert one.outputs["y"].tolist() == [[3]]
    assert (other.line, other.outputs) == (3, {})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1: expected an object with tensors"),
        ('{"tensors": {"x": [1, 2]}, "outputs": {}}', "line 1: tensors: missing w"),
        ('{"tensors": {"x": ["a", 2], "w": "v"}, "outputs": {}}', r"line 1: tensors\.x: expected FP32 values"),
        ('{"tensors": {"x": 1.5, "w": "v"}, "outputs": {}}', r"line 1: tensors\.x: expected a row of \[-1, 2\]"),
        ('{"tensors": {"x": [1, 2], "w": "v"}, "outputs": {"y": "no"}}', r"line 1: outputs\.y"),
    ],
)
def test_what_does_not_fit_is_named(line: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_examples(line.encode(), INPUTS, OUTPUTS)

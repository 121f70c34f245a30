"""Protocol v1: instances to tensors, outputs to predictions, and what is refused."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput, PenstockError, TooLarge
from penstock.protocol import v1
from penstock.protocol.limits import Limits
from penstock.tensors import Tensor

ROW = (TensorMetadata("x", "FP32", (-1, 2)),)
PAIR = (TensorMetadata("a", "INT64", (-1,)), TensorMetadata("b", "BYTES", (-1, -1)))


def read(document: Any, inputs: tuple[TensorMetadata, ...] = ROW, **limits: int) -> list[Tensor]:
    bounds = Limits(**limits)
    return v1.tensors_of(v1.decode_instances(json.dumps(document).encode(), limits=bounds), inputs, limits=bounds)


def test_values_of_the_one_input() -> None:
    (tensor,) = read({"instances": [[1, None], [3, 4]]})
    np.testing.assert_array_equal(tensor.array, np.array([[1, np.nan], [3, 4]], np.float32))


def test_values_by_name() -> None:
    a, b = read({"instances": [{"a": 1, "b": ["x", "y"]}, {"b": ["z", "é"], "a": 2}]}, PAIR)
    assert (a.name, a.shape, a.flat) == ("a", (2,), [1, 2])
    assert (b.name, b.shape, b.flat) == ("b", (2, 2), ["x", "y", "z", "é"])


@pytest.mark.parametrize(
    "document, inputs, message",
    [
        ({}, ROW, "instances: expected an array, got nothing"),
        ({"instances": 3}, ROW, "instances: expected an array, got 3"),
        ({"instances": []}, ROW, "instances: expected at least one instance, got none"),
        ([], ROW, "body: expected a JSON object, got []"),
        ({"instances": [[1, 2], [1]]}, ROW, "instances[1]: expected 2 elements for axis 1 of [2, 2], got 1"),
        ({"instances": [[1, 2], [1, "2"]]}, ROW, 'instances[1][1]: expected a number that fits FP32, or null for NaN, got "2"'),
        ({"instances": [[[1], [2]]]}, ROW, "instances: expected 1 levels of arrays in each instance, got 2"),
        ({"instances": [1]}, ROW, "instances: expected 1 levels of arrays in each instance, got 0"),
        ({"instances": [[1, 2]]}, PAIR, 'instances[0]: expected an object with "a", "b", got [1, 2]'),
        ({"instances": [{"a": 1, "b": ["x"]}, 3]}, PAIR, "instances[1]: expected an object like instances[0], got 3"),
        ({"instances": [{"a": 1}]}, PAIR, 'instances[0]: expected a value for "b", got nothing'),
        ({"instances": [{"a": 1, "b": ["x"], "c": 0}]}, PAIR, 'instances[0]: unknown input "c"; expected a, b'),
        ({"instances": [{"a": 1, "b": ["x"]}, {"a": 1, "b": [2]}]}, PAIR, "instances[1].b[0]: expected a string, got 2"),
        ({"instances": [{"a": True, "b": ["x"]}]}, PAIR, "instances[0].a: expected an integer from -9223372036854775808 to"),
    ],
)
def test_bad_instances(document: Any, inputs: tuple[TensorMetadata, ...], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(document, inputs)
    assert str(caught.value).startswith(message)


def test_limits() -> None:
    with pytest.raises(TooLarge, match="instances: expected at most 1 instances, got 2"):
        read({"instances": [[1, 2], [3, 4]]}, rows=1)
    with pytest.raises(TooLarge, match="instances: expected at most 3 elements"):
        read({"instances": [[1, 2], [3, 4]]}, elements=3)
    with pytest.raises(TooLarge, match="expected a body of at most 4 bytes, got 26"):
        read({"instances": [[1, 2], 3]}, body_bytes=4)
    deep: Any = 1
    for at in range(24):
        deep = [deep] if at % 2 else {"k": deep}
    with pytest.raises(InvalidInput, match="instances: expected at most 24 levels of arrays and objects"):
        read({"instances": [deep]})
    with pytest.raises(InvalidInput, match="nested too deeply"):
        v1.decode_instances(b'{"instances":' + b"[" * 100_000, limits=Limits())


@given(st.binary(max_size=40) | st.binary(max_size=20).map(lambda tail: b'{"instances": [' + tail + b"]}"))
def test_random_bytes(text: bytes) -> None:
    try:
        instances = v1.decode_instances(text, limits=Limits())
        tensors = v1.tensors_of(instances, ROW, limits=Limits())
    except PenstockError:
        return
    assert tensors[0].shape[0] == len(instances)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_predictions_of_one_output(shape: list[int]) -> None:
    numbers = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    for array in (numbers, numbers.astype(str).astype(object)):
        assert json.loads(v1.encode_predictions([Tensor.from_array("y", array)])) == {"predictions": array.tolist()}


def test_predictions_of_several_outputs() -> None:
    label = Tensor.from_array("label", np.array(["a", "b"], object))
    scores = Tensor.from_array("scores", np.array([[0.1, np.nan], [0.5, 0.5]], np.float32))
    got = json.loads(v1.encode_predictions([label, scores]))
    assert got == {"predictions": [{"label": "a", "scores": [0.1, None]}, {"label": "b", "scores": [0.5, 0.5]}]}


def test_outputs_without_rows() -> None:
    with pytest.raises(InvalidInput, match="y: an output without axes has no rows"):
        v1.encode_predictions([Tensor.from_array("y", np.float32(1).reshape(()))])
    with pytest.raises(InvalidInput, match="y: FP16 has no JSON form"):
        v1.encode_predictions([Tensor.from_array("y", np.zeros((1, 1, 1), np.float16))])
    with pytest.raises(InvalidInput, match="outputs of different numbers of rows"):
        v1.encode_predictions([Tensor.from_array("a", np.zeros(1)), Tensor.from_array("b", np.zeros(2))])

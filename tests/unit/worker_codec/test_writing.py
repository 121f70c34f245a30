"""What is written can be read: answers in every form, with the numbers and texts that the model gave."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dataplane import Context, InferRequest, InferResponse
from penstock.protocol.v2 import decode_response, encode_request
from penstock.tensors import Tensor
from penstock_transformer.requests import PredictResponse
from penstock_transformer.worker.reading import Reader
from penstock_transformer.worker.writing import Writer

BUNDLE = "flights@sha256:" + "0" * 64
WRITER = Writer("flights", "flights.predictions")
READER = Reader("flights")

floats = st.lists(st.floats(width=32), min_size=1, max_size=20).map(lambda numbers: np.array(numbers, np.float32))
whole = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20).map(lambda numbers: np.array(numbers, np.int64))
texts = st.lists(st.text(), min_size=1, max_size=8).map(
    lambda found: np.array([t.encode("utf-8", "replace") for t in found], object)
)
arrays = floats | whole | texts


def same(one, other):
    if one.dtype == object:
        return [bytes(x) if not isinstance(x, str) else x.encode() for x in one.reshape(-1)] == [
            bytes(x) if not isinstance(x, str) else x.encode() for x in other.reshape(-1)
        ]
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


@given(arrays, st.booleans())
def test_tensors_come_back_as_they_were(record, array, binary):
    """Written as a request by a client, read, answered with the same tensor, and read by the client."""
    asked = InferRequest("flights", [Tensor.from_array("x", array)], Context("r"))
    body, length = encode_request(asked)
    request = READER.read(made := record(body, ("inference-header-content-length", b"%d" % length)), made.value)
    assert same(request.inputs[0].array, array)
    request.binary_output = binary
    response = InferResponse("flights", [Tensor.from_array("y", array)], bundle=BUNDLE)
    out = WRITER.tensors(made, response, request, "r", None)
    given = dict(out.headers)
    header_length = given.get("inference-header-content-length")
    assert (header_length is not None) == binary
    assert given["content-type"] == (b"application/octet-stream" if binary else b"application/json")
    answer = decode_response(out.value, None if header_length is None else int(header_length), bundle=BUNDLE)
    expected = array if binary or array.dtype.kind != "f" else np.where(np.isfinite(array), array, np.nan).astype(np.float32)
    assert same(answer.outputs[0].array, expected)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def as_json(value):
    """What a JSON reader may get of a value: null for what is no number, "?" for what is no character."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {as_json(key): as_json(each) for key, each in value.items()}
    return [as_json(each) for each in value] if isinstance(value, list) else value


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=4), st.text(min_size=1, max_size=40))
def test_predictions_are_those_that_the_pipeline_made(record, predictions, identity):
    response = PredictResponse("flights", BUNDLE, predictions, {})
    made = record(b"{}", number=5, key=None)
    out = WRITER.rows(made, response, identity.encode("utf-8", "replace").decode(), None)
    assert json.loads(out.value) == {"model": "flights", "bundle": BUNDLE, "predictions": as_json(predictions)}
    assert (out.topic, out.partition, out.key) == ("flights.predictions", 5, None)


def test_a_value_that_is_none_of_json_is_said(record):
    with pytest.raises(TypeError):
        WRITER.rows(record(), PredictResponse("flights", BUNDLE, [{"value": object()}], {}), "r", None)


def test_each_answer_names_its_own_bundle_and_time(record):
    made = record()
    first, second = (WRITER.rows(made, PredictResponse("flights", label, [], {}), "r", None) for label in ("a@1", "b@2"))
    assert [dict(out.headers)["penstock-bundle"] for out in (first, second)] == [b"a@1", b"b@2"]
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", dict(first.headers)["ce_time"])

"""Requests that the server's own decoders read, and answers of the server's own encoders, over HTTP and the stream."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client.call import Answer
from penstock.client.inferring import infer, inference_of, request_of, tensor_of
from penstock.client.messages import Answered, Credit, Refused, frame_of, read_frame
from penstock.client.refusals import error_of
from penstock.dataplane import Context, InferRequest, InferResponse
from penstock.errors import InvalidInput, Overloaded, UpstreamUnavailable
from penstock.protocol.limits import Limits
from penstock.protocol.v2 import decode_request, encode_response
from penstock.serving.websocket.messages import encode_answer, encode_error, split_binary

ARRAYS = [
    np.array([[True, False]]),
    np.array([1, 2], ">i4"),
    np.array([2**63, 1], np.uint64),
    np.array([[1.5, np.nan]], np.float32),
    np.array([[1.5, -0.0]], np.float64)[:, ::-1],
    np.array(["a", "ü"]),
    np.array([["a"], ["b\x00"]], object),
    np.zeros((0, 3), np.int8),
]


def decoded(body: bytes, header_length: int | None) -> InferRequest:
    return decode_request(body, model="m", version=None, context=Context("r"), header_length=header_length, limits=Limits())


def same(found: Any, sent: Any) -> None:
    expected = np.asarray(sent)
    if expected.dtype.kind in "OU":
        texts = [text.decode() if isinstance(text, bytes) else text for text in found.ravel()]
        assert texts == expected.ravel().tolist()
    else:
        np.testing.assert_array_equal(found, expected)
    assert found.shape == expected.shape


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("binary", [True, False])
def test_tensors_arrive_and_come_back(array: Any, binary: bool) -> None:
    call = infer("m", {"x": array}, outputs=["x"], version=None, id="i", parameters={"p": 1}, binary=binary)
    length = call.headers.get("inference-header-content-length")
    request = decoded(call.body, None if length is None else int(length))
    assert (request.id, request.parameters, [output.name for output in request.outputs or []]) == ("i", {"p": 1}, ["x"])
    same(request.inputs[0].array, array)
    body, header_length = encode_response(InferResponse("m", request.inputs, "m@1", "1"), request)
    assert (header_length is not None) is binary
    headers = {"penstock-bundle": "m@1", "x-request-id": "r"}
    if header_length is not None:
        headers["inference-header-content-length"] = str(header_length)
    result = inference_of(Answer(200, headers, body), "i")
    assert (result.model, result.version, result.bundle, result.request_id, result.id) == ("m", "1", "m@1", "r", "i")
    same(result.outputs["x"], array)


def test_half_precision_is_binary_only() -> None:
    half = np.ones((1, 2), np.float16)
    assert infer("m", {"x": half}, outputs=None, version=None, id=None, parameters=None, binary=True).body
    with pytest.raises(InvalidInput, match="FP16"):
        infer("m", {"x": half}, outputs=None, version=None, id=None, parameters=None, binary=False)


@pytest.mark.parametrize("value", [np.array([1 + 2j]), np.array([1, None], object), np.array([{}], object)])
def test_what_is_no_tensor_is_named(value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        tensor_of("x", value)
    assert refused.value.field == "x"


def test_bytes_that_are_no_text_stay_bytes() -> None:
    request = request_of("m", {"x": np.array([b"\xff"], object)})
    request.binary_output = True
    body, length = encode_response(InferResponse("m", request.inputs, "m@1"), request)
    found = inference_of(Answer(200, {"inference-header-content-length": str(length)}, body))
    assert found.outputs["x"].tolist() == [b"\xff"]


@pytest.mark.parametrize("binary", [True, False])
def test_a_stream_both_ways(binary: bool) -> None:
    request = request_of("m", {"x": np.array([[1, 2]], np.int64)}, id="7")
    frame = frame_of(request, {"penstock-timeout-ms": "5"}, binary=binary)
    body, length = (frame.encode(), None) if isinstance(frame, str) else split_binary(frame)
    arrived = decoded(body, length)
    assert (arrived.id, arrived.parameters) == ("7", {"penstock-timeout-ms": "5"})
    text, message = encode_answer(InferResponse("m", arrived.inputs, "m@1", "1"), arrived)
    assert text is not binary
    said = read_frame(message.decode() if text else message)
    assert isinstance(said, Answered)
    assert (said.id, said.result.bundle, said.result.outputs["x"].tolist()) == ("7", "m@1", [[1, 2]])


def test_refusals_and_credit() -> None:
    assert read_frame('{"credit":128}') == Credit(128)
    said = read_frame(encode_error("7", Overloaded("full", retry_after_s=0.2)).decode())
    assert isinstance(said, Refused)
    error = error_of(said.answer)
    assert isinstance(error, Overloaded)
    assert (said.id, error.retry_after_s, error.message) == ("7", 0.2, "full")
    nameless = read_frame(encode_error(None, InvalidInput("expected a string", field="id")).decode())
    assert isinstance(nameless, Refused)
    assert (nameless.id, error_of(nameless.answer).field) == (None, "id")


@given(st.binary(max_size=60) | st.text(max_size=60) | st.sampled_from(['{"id":"a"}', '{"id":"a","outputs":3}', b"\x02\0\0\0{}"]))
def test_other_frames_are_the_servers_fault(frame: str | bytes) -> None:
    try:
        read_frame(frame)
    except UpstreamUnavailable:
        pass

"""What travels beside the tensors: id, parameters, requested outputs and their form; and the very bytes of answers."""

import json
from typing import Any

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, InferResponse, RequestedOutput
from penstock.errors import UpstreamUnavailable
from penstock.protocol import v2
from penstock.tensors import Tensor

X = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2.5]}
NESTED = {**X, "data": [[1, 2.5]]}


def response(*arrays: Any, **more: Any) -> InferResponse:
    outputs = [Tensor.from_array(f"y{at}", array) for at, array in enumerate(arrays)]
    return InferResponse("m", outputs, bundle="m@sha256:0", **more)


@pytest.mark.parametrize("tensor", [X, NESTED], ids=["plain", "nested"])
def test_options(decode: Any, tensor: dict[str, Any]) -> None:
    """The same through the fast way and the slow one."""
    document = {
        "id": "42",
        "parameters": {"encoded": True, "priority": 3, "binary_data_output": True},
        "inputs": [tensor],
        "outputs": [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False, "top": 3}}],
        "unknown": {"members": ["are", "left", "alone"]},
    }
    got = decode(json.dumps(document).encode(), version="7")
    assert (got.model, got.version, got.id, got.binary_output) == ("m", "7", "42", True)
    assert got.parameters == {"encoded": True, "priority": 3}
    assert got.outputs == [RequestedOutput("a"), RequestedOutput("b", False, {"top": 3})]
    assert got.inputs[0].flat == [1.0, 2.5]


@pytest.mark.parametrize("tensor", [X, NESTED], ids=["plain", "nested"])
@pytest.mark.parametrize("empty", [{"parameters": {}, "outputs": []}, {"parameters": None, "outputs": None, "id": None}, {}])
def test_no_options(decode: Any, tensor: dict[str, Any], empty: dict[str, Any]) -> None:
    got = decode(json.dumps({"inputs": [{**tensor, "parameters": empty.get("parameters")}], **empty}).encode())
    assert (got.version, got.id, got.parameters, got.outputs, got.binary_output) == (None, None, None, None, False)


def test_null_is_nan_both_ways(decode: Any) -> None:
    got = decode(b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [3], "data": [null, 1, null]}]}')
    assert np.isnan(got.inputs[0].array).tolist() == [True, False, True]
    body, _ = v2.encode_response(response(np.array([np.nan, 1.0, np.inf], np.float32)), got)
    assert b'"data":[null,1.0,null]' in body


def test_binary_keeps_nan_payloads(decode: Any) -> None:
    strange = np.array([0x7FC00123, 0xFF800000], np.uint32).view(np.float32)
    body, header_length = v2.encode_request(InferRequest("m", [Tensor.from_array("x", strange)], Context("r")))
    assert bytes(decode(body, header_length).inputs[0].raw) == strange.tobytes()


def test_json_answer_is_exact(decode: Any) -> None:
    request = decode(json.dumps({"id": 'a"b', "inputs": [X]}).encode())
    sent = response(np.array([[0.1], [2.0]], np.float32), np.array(["é", "b"], object), version="3", parameters={"p": 1})
    body, header_length = v2.encode_response(sent, request)
    assert header_length is None
    assert body.decode() == (
        '{"model_name":"m","model_version":"3","id":"a\\"b","parameters":{"p":1},"outputs":['
        '{"name":"y0","datatype":"FP32","shape":[2,1],"data":[0.1,2.0]},'
        '{"name":"y1","datatype":"BYTES","shape":[2],"data":["é","b"]}]}'
    )


def test_binary_answer_is_exact(decode: Any) -> None:
    request = decode(json.dumps({"inputs": [X], "parameters": {"binary_data_output": True}}).encode())
    sent = response(np.array([[1.0]], np.float32), np.array([b"ab"], object))
    body, header_length = v2.encode_response(sent, request)
    assert header_length is not None
    assert body[:header_length].decode() == (
        '{"model_name":"m","outputs":['
        '{"name":"y0","datatype":"FP32","shape":[1,1],"parameters":{"binary_data_size":4}},'
        '{"name":"y1","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}}]}'
    )
    assert body[header_length:] == np.float32(1).tobytes() + b"\2\0\0\0ab"


def test_output_asked_for_as_json_beside_a_binary_default(decode: Any) -> None:
    asked = {"binary_data_output": True}
    outputs = [{"name": "y0", "parameters": {"binary_data": False}}]
    request = decode(json.dumps({"inputs": [X], "parameters": asked, "outputs": outputs}).encode())
    body, header_length = v2.encode_response(response(np.array([1.0], np.float32)), request)
    assert header_length is None
    assert json.loads(body)["outputs"][0]["data"] == [1.0]


def test_answer_without_outputs(decode: Any) -> None:
    assert v2.encode_response(response(), decode(json.dumps({"inputs": [X]}).encode())) == (
        b'{"model_name":"m","outputs":[]}',
        None,
    )


def test_large_tensors_are_views_and_small_ones_aligned(decode: Any) -> None:
    large, small = np.arange(50_000, dtype=np.int64), np.arange(3, dtype=np.int64)
    sent = InferRequest("m", [Tensor.from_array("a", small), Tensor.from_array("b", large)], Context("r"))
    body, header_length = v2.encode_request(sent)
    pad = -header_length % 8
    body = b" " * pad + body
    got = decode(body, header_length + pad)
    assert isinstance(got.inputs[1].raw, memoryview)
    assert isinstance(got.inputs[0].raw, bytes)
    misaligned = decode(b" " + body, header_length + pad + 1)
    assert isinstance(misaligned.inputs[1].raw, bytes)
    for request in (got, misaligned):
        for tensor, array in zip(request.inputs, (small, large), strict=True):
            assert tensor.array.flags.aligned
            np.testing.assert_array_equal(tensor.array, array)


def test_client_passes_on_what_was_asked() -> None:
    sent = InferRequest(
        "m",
        [Tensor.from_array("x", np.zeros(1, np.float32))],
        Context("r"),
        id="5",
        outputs=[RequestedOutput("y", None, {"top": 1})],
        parameters={"encoded": True},
    )
    body, header_length = v2.encode_request(sent)
    assert json.loads(body[:header_length]) == {
        "id": "5",
        "parameters": {"encoded": True, "binary_data_output": True},
        "inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}],
        "outputs": [{"name": "y", "parameters": {"top": 1, "binary_data": True}}],
    }


@pytest.mark.parametrize(
    "body, header_length",
    [
        (b"", None),
        (b"<html>", None),
        (b"{}", None),
        (b'{"outputs": []}', None),
        (b'{"model_name": "m", "model_version": 3, "outputs": []}', None),
        (b'{"model_name": "m", "parameters": [], "outputs": []}', None),
        (b'{"model_name": "m", "outputs": []}', 99),
        (b'{"model_name": "m", "outputs": []}!', 33),
        (b'{"model_name": "m", "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1]}]}', None),
    ],
)
def test_malformed_answers_are_the_upstreams_fault(body: bytes, header_length: int | None) -> None:
    with pytest.raises(UpstreamUnavailable, match="the model server's answer is not one of the protocol"):
        v2.decode_response(body, header_length)


def test_known_answer_with_another_tail() -> None:
    """An answer's header seen before is not trusted for what follows it."""
    answer = response(np.array([1.0, 2.0], np.float32), np.array([b"ab", b""], object), version="3", parameters={"p": 1})
    body, header_length = v2.encode_response(answer, InferRequest("m", [], Context("r"), binary_output=True))
    for _ in range(2):
        got = v2.decode_response(body, header_length, bundle="b")
        assert (got.model, got.version, got.bundle, got.parameters) == ("m", "3", "b", {"p": 1})
        assert [tensor.flat for tensor in got.outputs] == [[1.0, 2.0], [b"ab", b""]]
    for damaged in (body[:-1], body + b"!", body[:-8] + b"\xff" * 8):
        with pytest.raises(UpstreamUnavailable):
            v2.decode_response(damaged, header_length)


def test_caches_are_bounded(decode: Any) -> None:
    """More shapes than any cache keeps: everything still comes out right, and the caches are not larger than they say."""
    from penstock.protocol.v2 import client, decoding, encoding, plans

    for size in range(5000):
        sent = InferRequest("m", [Tensor.from_array("x", np.zeros((0, size), np.float32))], Context("r"))
        body, header_length = v2.encode_request(sent)
        got = decode(body, header_length)
        assert got.inputs[0].shape == (0, size)
        answer = InferResponse(f"m{size}", got.inputs, bundle="")
        v2.encode_response(answer, got)
        assert v2.decode_response(*v2.encode_response(answer, got)).outputs[0].shape == (0, size)
        got.binary_output = False
        v2.encode_response(answer, got)
    assert len(plans._plans) <= plans.PLANS_KEPT
    assert len(decoding._layouts) <= decoding.LAYOUTS_KEPT
    assert len(client._layouts) <= client.LAYOUTS_KEPT
    for cache in (encoding._heads, encoding._leads, encoding._openings, encoding._binary_items):
        assert len(cache) <= encoding.HEADS_KEPT


def test_long_names_and_headers_are_not_kept(decode: Any) -> None:
    from penstock.protocol.v2 import decoding, plans

    name = "n" * 1000
    sent = InferRequest("m", [Tensor.from_array(name, np.zeros(1, np.float32))], Context("r"), id="1")
    body, header_length = v2.encode_request(sent)
    decode(body, header_length)
    assert not any(key[0] == name for key in plans._plans)
    assert body[:header_length] not in decoding._layouts

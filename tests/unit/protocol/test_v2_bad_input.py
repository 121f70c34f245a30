"""Every way a v2 request can be wrong: a PenstockError that names the field and says what was expected; nothing else, ever."""

import contextlib
import json
import struct
from typing import Any

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, InferResponse, RequestedOutput
from penstock.errors import ErrorKind, InvalidInput, PenstockError, TooLarge
from penstock.protocol import v2
from penstock.protocol.limits import Limits
from penstock.tensors import Tensor


def tensor(**changes: Any) -> dict[str, Any]:
    """One plain tensor with some members changed, or left out (None)."""
    members = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2], **changes}
    return {name: value for name, value in members.items() if value is not Ellipsis}


def body(*tensors: Any, **members: Any) -> bytes:
    return json.dumps({"inputs": list(tensors), **members}).encode()


BAD_JSON = [
    (b"", "body: expected JSON, got an empty body"),
    (b"  \n", "body: expected JSON, got an empty body"),
    (b"{", "body: expected JSON: Input data was truncated"),
    (b"\xff\xfe", "body: expected JSON:"),
    (
        b'{"inputs": [NaN]}',
        "body: expected JSON: JSON is malformed: invalid character (byte 12); JSON has no NaN and no Infinity: null",
    ),
    (b'{"inputs": "\xff"}', "body: expected JSON in UTF-8, got invalid text at byte 0 of a string"),
    (b"[]", "body: expected a JSON object, got []"),
    (b"null", "body: expected a JSON object, got null"),
    (b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1e999]}]}', "inputs[0].data[0]: number out of range"),
    (
        b'{"inputs": [{"name": "x", "parameters": {"n": ' + b"9" * 5000 + b"}}]}",
        "inputs[0].parameters.n: integer value out of range",
    ),
    (b"9" * 5000, "body: integer value out of range"),
    (b'{"id": "\\ud83d"}', "body: expected JSON: Input data was truncated; a string has half of a surrogate pair"),
    (b"{}", "inputs: expected an array of tensors, got nothing"),
    (b'{"inputs": null}', "inputs: expected an array of tensors, got null"),
    (b'{"inputs": {"x": 1}}', "inputs: expected an array of tensors, got an object"),
    (body(), "inputs: expected at least one tensor, got none"),
    (body(7), "inputs[0]: expected an object, got 7"),
    (body(tensor(name=...)), "inputs[0].name: expected a value, got nothing"),
    (body(tensor(name=5)), "inputs[0].name: expected a string, got 5"),
    (body(tensor(name="")), "inputs[0].name: expected a name, got an empty string"),
    (body(tensor(datatype=...)), "inputs[0].datatype: expected a value, got nothing"),
    (
        body(tensor(datatype="FLOAT")),
        "inputs[0].datatype: expected one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, "
        'INT64, FP16, FP32, FP64, BYTES, got "FLOAT"',
    ),
    (body(tensor(datatype=["FP32"])), "inputs[0].datatype: expected one of"),
    (body(tensor(shape=...)), "inputs[0].shape: expected a value, got nothing"),
    (body(tensor(shape=2)), "inputs[0].shape: expected an array of integers, got 2"),
    (body(tensor(shape=[1, "2"])), 'inputs[0].shape[1]: expected an integer, got "2"'),
    (body(tensor(shape=[1, 2.0])), "inputs[0].shape[1]: expected an integer, got 2.0"),
    (body(tensor(shape=[True, 2])), "inputs[0].shape[0]: expected an integer, got true"),
    (body(tensor(shape=[-1, 2])), "inputs[0].shape: expected sizes of 0 or more, got [-1, 2]"),
    (body(tensor(shape=[1, 3])), "inputs[0].data: expected 3 elements for shape [1, 3], got 2"),
    (body(tensor(shape=[1])), "inputs[0].data: expected 1 elements for shape [1], got 2"),
    (body(tensor(data=...)), "inputs[0].data: expected an array, or binary_data_size in the parameters, got nothing"),
    (body(tensor(data=None)), "inputs[0].data: expected an array, got null"),
    (body(tensor(data={"0": 1})), "inputs[0].data: expected an array, got an object"),
    (body(tensor(data="1,2")), 'inputs[0].data: expected an array, got "1,2"'),
    (
        body(tensor(), tensor(name="z", data=[1, "2"])),
        'inputs[1].data[1]: expected a number that fits FP32, or null for NaN, got "2"',
    ),
    (body(tensor(data=[None, True])), "inputs[0].data[1]: expected a number that fits FP32, or null for NaN, got true"),
    (body(tensor(data=[1, 1e39])), "inputs[0].data[1]: expected a number that fits FP32, or null for NaN, got 1e+39"),
    (body(tensor(data=[1, [2]])), "inputs[0].data[1]: expected a number that fits FP32, or null for NaN, got [2]"),
    (
        body(tensor(datatype="FP64", data=[1, 10**400])),
        "inputs[0].data[1]: expected a number that fits FP64, or null for NaN, got 1000",
    ),
    (body(tensor(datatype="UINT8", data=[1, 300])), "inputs[0].data[1]: expected an integer from 0 to 255, got 300"),
    (body(tensor(datatype="UINT8", data=[[1, -1]])), "inputs[0].data[0][1]: expected an integer from 0 to 255, got -1"),
    (body(tensor(datatype="INT8", data=[1, 128])), "inputs[0].data[1]: expected an integer from -128 to 127, got 128"),
    (
        body(tensor(datatype="INT64", data=[1, 2**63])),
        "inputs[0].data[1]: expected an integer from -9223372036854775808 to 9223372036854775807, got 9223372036854775808",
    ),
    (
        body(tensor(datatype="INT32", data=[1, 2.5])),
        "inputs[0].data[1]: expected an integer from -2147483648 to 2147483647, got 2.5",
    ),
    (body(tensor(datatype="INT32", data=[1, True])), "got true"),
    (
        body(tensor(datatype="INT32", data=[1, None])),
        "inputs[0].data[1]: expected an integer from -2147483648 to 2147483647, got null",
    ),
    (body(tensor(datatype="BOOL", data=[True, 1])), "inputs[0].data[1]: expected true or false, got 1"),
    (body(tensor(datatype="BYTES", data=["a", 1])), "inputs[0].data[1]: expected a string, got 1"),
    (body(tensor(datatype="BYTES", data=["a", None])), "inputs[0].data[1]: expected a string, got null"),
    (body(tensor(datatype="FP16")), "inputs[0].data: FP16 travels only as binary data"),
    (body(tensor(data=[[1], [2]])), "inputs[0].data: expected 1 elements for axis 0 of [1, 2], got 2"),
    (body(tensor(data=[[1, 2, 3]])), "inputs[0].data[0]: expected 2 elements for axis 1 of [1, 2], got 3"),
    (body(tensor(shape=[2, 1], data=[[1], 2])), "inputs[0].data[1]: expected an array, got 2"),
    (body(tensor(data=[[[1], [2]]])), "inputs[0].data[0][0]: expected a number that fits FP32, or null for NaN, got [1]"),
    (body(tensor(), tensor()), 'inputs[1].name: "x" is already the name of inputs[0]'),
    (body(tensor(parameters=3)), "inputs[0].parameters: expected an object, got 3"),
    (body(tensor(parameters={"p": [1]})), "inputs[0].parameters.p: expected a string, a number, true or false, got [1]"),
    (
        body(tensor(parameters={"binary_data_size": 8})),
        "inputs[0].parameters.binary_data_size: given without the header Inference-Header-Content-Length",
    ),
    (body(tensor(), id=7), "id: expected a string, got 7"),
    (body(tensor(), parameters=[]), "parameters: expected an object, got []"),
    (body(tensor(), parameters={"a b": {}}), 'parameters."a b": expected a string, a number, true or false, got an object'),
    (body(tensor(), parameters={"binary_data_output": 1}), "parameters.binary_data_output: expected true or false, got 1"),
    (body(tensor(), outputs="y"), 'outputs: expected an array of outputs, got "y"'),
    (body(tensor(), outputs=["y"]), 'outputs[0]: expected an object with a name, got "y"'),
    (body(tensor(), outputs=[{}]), "outputs[0].name: expected a value, got nothing"),
    (body(tensor(), outputs=[{"name": None}]), "outputs[0].name: expected a string, got null"),
    (body(tensor(), outputs=[{"name": "y"}, {"name": "y"}]), 'outputs[1].name: "y" is already asked for by outputs[0]'),
    (
        body(tensor(), outputs=[{"name": "y", "parameters": {"binary_data": "yes"}}]),
        'outputs[0].parameters.binary_data: expected true or false, got "yes"',
    ),
]


@pytest.mark.parametrize("text, message", BAD_JSON)
def test_bad_json(decode: Any, text: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode(text)
    assert str(caught.value).startswith(message) or (message.startswith("got") and str(caught.value).endswith(message))
    assert caught.value.kind == ErrorKind.INVALID_INPUT


@pytest.mark.parametrize("opening", [b"[", b'{"inputs":', b'{"inputs":[{"parameters":'])
def test_deep_nesting(decode: Any, opening: bytes) -> None:
    with pytest.raises(InvalidInput, match="nested too deeply"):
        decode(opening * 200_000)


def test_deep_nesting_where_nobody_looks(decode: Any) -> None:
    """A member that the protocol does not know is skipped, but not at any depth."""
    with pytest.raises(InvalidInput, match="nested too deeply"):
        decode(b'{"inputs":[],"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


SMALL = Limits(body_bytes=600, elements=8, rank=3, rows=4, tensors=2, name_bytes=5)
TOO_LARGE = [
    (b" " * 601, "expected a body of at most 600 bytes, got 601"),
    (body(tensor(shape=[3, 3])), "inputs[0].shape: expected at most 8 elements, got [3, 3]"),
    (body(tensor(shape=[0, 2**70])), "inputs[0].shape: expected at most 8 elements, got [0, 118059"),
    (body(tensor(shape=[1, 1, 1, 1])), "inputs[0].shape: expected at most 3 axes, got 4"),
    (body(tensor(shape=[5], data=[1] * 5)), "inputs[0].shape: expected at most 4 rows, got 5"),
    (body(tensor(name="a"), tensor(name="b"), tensor(name="c")), "inputs: expected at most 2 tensors, got 3"),
    (body(tensor(name="abcdef")), "inputs[0].name: expected at most 5 characters, got 6"),
    (body(tensor(), id="abcdef"), "id: expected at most 5 characters, got 6"),
    (body(tensor(), outputs=[{"name": name} for name in "abc"]), "outputs: expected at most 2 outputs, got 3"),
    (body(tensor(), outputs=[{"name": "abcdef"}]), "outputs[0].name: expected at most 5 characters, got 6"),
]


@pytest.mark.parametrize("text, message", TOO_LARGE)
def test_limits(decode: Any, text: bytes, message: str) -> None:
    with pytest.raises(TooLarge) as caught:
        decode(text, limits=SMALL)
    assert str(caught.value).startswith(message)
    if text.strip():
        roomy = Limits(elements=2**80)
        for limits in (roomy, SMALL, roomy, SMALL):  # a plan made under other limits does not excuse the next request
            with contextlib.suppress(PenstockError) if limits is roomy else pytest.raises(TooLarge):
                decode(text, limits=limits)


def test_limits_hold_for_known_headers(decode: Any) -> None:
    request = InferRequest("m", [Tensor.from_array("x", np.zeros((3, 3), np.float32))], Context("r"))
    text, header_length = v2.encode_request(request)
    decode(text, header_length)
    with pytest.raises(TooLarge, match="at most 8 elements"):
        decode(text, header_length, limits=SMALL)


def binary(tail: bytes, *tensors: Any, **members: Any) -> tuple[bytes, int]:
    header = body(*tensors, **members)
    return header + tail, len(header)


def sized(size: Any, **changes: Any) -> dict[str, Any]:
    return tensor(**{"data": ..., "parameters": {"binary_data_size": size}, **changes})


EIGHT = b"\0" * 8
BAD_BINARY = [
    ((b"{}", 0), "Inference-Header-Content-Length: expected 1 to 2 (the body's length), got 0"),
    ((b"{}", 3), "Inference-Header-Content-Length: expected 1 to 2 (the body's length), got 3"),
    ((b"{}", -1), "Inference-Header-Content-Length: expected 1 to 2 (the body's length), got -1"),
    ((b'{"inputs":[]}', 5), "body: expected JSON: Input data was truncated"),
    (binary(EIGHT[:7], sized(8)), "inputs[0].parameters.binary_data_size: claims 8 bytes, 7 are left behind the JSON header"),
    (binary(EIGHT, sized(2**70)), "inputs[0].parameters.binary_data_size: claims 1180591620717411303424 bytes, 8 are left"),
    (binary(EIGHT, sized(4)), "inputs[0].data: expected 8 bytes for FP32 [1, 2], got binary_data_size 4"),
    (binary(EIGHT, sized(8, shape=[1, 3])), "inputs[0].data: expected 12 bytes for FP32 [1, 3], got binary_data_size 8"),
    (binary(EIGHT + b"!", sized(8)), "Inference-Header-Content-Length: 1 bytes are left behind the last binary tensor"),
    (binary(EIGHT, sized(-8)), "inputs[0].parameters.binary_data_size: expected a number of bytes, got -8"),
    (binary(EIGHT, sized(8.0)), "inputs[0].parameters.binary_data_size: expected a number of bytes, got 8.0"),
    (binary(EIGHT, sized(True)), "inputs[0].parameters.binary_data_size: expected a number of bytes, got true"),
    (binary(EIGHT, sized("8")), 'inputs[0].parameters.binary_data_size: expected a number of bytes, got "8"'),
    (
        binary(EIGHT, sized(8, data=[1, 2])),
        "inputs[0].parameters.binary_data_size: expected either data or binary_data_size, got both",
    ),
    (binary(EIGHT, tensor(data=...)), "inputs[0].data: expected an array, or binary_data_size in the parameters, got nothing"),
    (binary(EIGHT, sized(8), sized(8, name="z")), "inputs[1].parameters.binary_data_size: claims 8 bytes, 0 are left"),
    (binary(EIGHT, sized(4, shape=[1]), sized(4, shape=[1])), 'inputs[1].name: "x" is already the name of inputs[0]'),
    (binary(b"\1\2", sized(2, datatype="BOOL")), "inputs[0].data: expected bytes of 0 and 1 only"),
    (binary(struct.pack("<I", 1) + b"a", sized(5, datatype="BYTES")), "inputs[0].data: binary data ends inside element 1 of 2"),
    (binary(struct.pack("<I", 9) + b"a", sized(5, datatype="BYTES")), "inputs[0].data: element 0 claims 9 bytes, 1 are left"),
    (binary(struct.pack("<II", 0, 0) + b"a", sized(9, datatype="BYTES")), "inputs[0].data: 1 bytes left after 2 elements"),
]


@pytest.mark.parametrize("message_body, message", BAD_BINARY)
def test_bad_binary(decode: Any, message_body: tuple[bytes, int], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode(*message_body)
    assert str(caught.value).startswith(message)


def test_known_header_with_other_tail(decode: Any) -> None:
    """A header seen before is not trusted for the length of what follows it."""
    good, header_length = binary(EIGHT, sized(8))
    for _ in range(2):
        assert decode(good, header_length).inputs[0].flat == [0.0, 0.0]
    with pytest.raises(InvalidInput, match="claims 8 bytes, 7 are left"):
        decode(good[:-1], header_length)
    with pytest.raises(InvalidInput, match="1 bytes are left"):
        decode(good + b"!", header_length)
    bad, header_length = binary(b"\1\0", sized(2, datatype="BOOL"))
    decode(bad, header_length)
    with pytest.raises(InvalidInput, match=r"inputs\[0\].data: expected bytes of 0 and 1 only"):
        decode(bad[:-1] + b"\7", header_length)


def test_long_values_are_cut(decode: Any) -> None:
    """Messages and the log they end up in do not carry payloads."""
    with pytest.raises(InvalidInput) as caught:
        decode(body(tensor(data=["secret" * 10_000])))
    assert len(str(caught.value)) < 300
    with pytest.raises(InvalidInput) as caught:
        decode(body(tensor(shape=["\n\ud800"])))
    assert str(caught.value).isprintable()


def test_output_that_json_cannot_hold() -> None:
    half = Tensor.from_array("h", np.zeros((1, 2), np.float16))
    raw = Tensor.from_flat("b", "BYTES", (1,), [b"\xff"])
    for output, message in ((half, "h: FP16 has no JSON form"), (raw, "b: expected UTF-8 text")):
        response = InferResponse("m", [output], bundle="b")
        with pytest.raises(InvalidInput, match=message):
            v2.encode_response(response, InferRequest("m", [], Context("r")))
        asked = InferRequest("m", [], Context("r"), outputs=[RequestedOutput(output.name, binary=True)])
        _, header_length = v2.encode_response(response, asked)
        assert header_length is not None

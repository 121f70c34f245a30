"""Raw features as tensors (v2) that are wrong, to the transformer over the wire: JSON, binary, encoded; and bodies too large."""

import json
import struct
from collections.abc import Callable
from typing import Any

import httpx
import pytest

Check = Callable[..., dict[str, Any]]
INFER = "/v2/models/flights/infer"
DEEP = "[" * 100_000 + "]" * 100_000


def asked(**changes: Any) -> str:
    """A v2 body with the one feature that must be there, changed; a change to None removes the member."""
    good = {"name": "distance", "datatype": "FP32", "shape": [1], "data": [1]} | changes
    return json.dumps({"inputs": [{name: value for name, value in good.items() if value is not None}]})


@pytest.mark.parametrize(
    "body, field, words",
    [
        ("", "body", "empty body"),
        ("{", "body", "expected JSON"),
        ("[]", "body", "expected a JSON object"),
        ("{}", "inputs", "expected an array"),
        ('{"inputs": []}', "inputs", "at least one"),
        ('{"inputs": [3]}', "inputs[0]", "expected an object"),
        (f'{{"inputs": {DEEP}}}', "body", "nested too deeply"),
        (f'{{"parameters": {{"encoded": true}}, "inputs": {DEEP}}}', "body", "nested too deeply"),
        (asked().replace("[1]}", "[NaN]}"), "body", "null stands for NaN"),
        (asked(name=None), "inputs[0].name", "got nothing"),
        (asked(datatype="FP33"), "inputs[0].datatype", "expected one of"),
        (asked(datatype="FP16"), "inputs[0].data", "only as binary data"),
        (asked(datatype="BOOL", data=[True]), "rows[0].distance", "expected a number"),
        (asked(datatype="FP64", data=[1e39]), "rows[0].distance", "float32"),
        (asked(shape=[3]), "inputs[0].data", "expected 3 elements for shape [3], got 1"),
        (asked(shape=[-1]), "inputs[0].shape", "sizes of 0 or more"),
        (asked(shape=[]), "inputs[0].shape", "expected shape [-1]"),
        (asked(shape="1"), "inputs[0].shape", "array of integers"),
        (asked(data=None), "inputs[0].data", "got nothing"),
        (asked(data=[[1]]), "inputs[0].data[0]", "expected a number"),
        (asked(data=["far"]), "inputs[0].data[0]", "expected a number"),
        (asked()[:-1] + ', "outputs": [{"name": "nothing"}]}', "outputs[0].name", "expected one of late"),
        (asked(name="flight_id", datatype="BYTES", data=["nobody"]), "rows[0].flight_id", "there is no record"),
    ],
)
def test_json(http: httpx.Client, refused: Check, body: str, field: str, words: str) -> None:
    refused(http.post(INFER, content=body), 400, words, field=field)


@pytest.mark.parametrize("shape, words", [([2**40, 2**40], "elements"), ([1] * 100, "at most 16 axes")])
def test_shapes_beyond_the_limits(http: httpx.Client, refused: Check, shape: list[int], words: str) -> None:
    refused(http.post(INFER, content=asked(shape=shape)), 413, words, field="inputs[0].shape")


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"shape": [1, 5], "data": [0] * 5}, "inputs[0].shape"),
        ({"shape": [2, 6]}, "inputs[0].data"),
        ({"name": "distance"}, "inputs[0].name"),
        ({"datatype": "INT64"}, "inputs[0].datatype"),
        ({"data": [1e39] * 6}, "inputs[0].data[0]"),
        ({"data": ["a"] * 6}, "inputs[0].data[0]"),
    ],
)
def test_encoded_tensors(http: httpx.Client, refused: Check, changes: dict[str, Any], field: str) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 6], "data": [0] * 6} | changes
    refused(http.post(INFER, json={"parameters": {"encoded": True}, "inputs": [tensor]}), 400, field=field)


@pytest.mark.parametrize(
    "size, data, length, field",
    [
        (8, b"\0" * 7, None, "inputs[0].parameters.binary_data_size"),
        (8, b"", None, "inputs[0].parameters.binary_data_size"),
        (8, b"\0" * 9, None, "Inference-Header-Content-Length"),
        (4, b"\0" * 4, None, "inputs[0].data"),
        (12, b"\0" * 12, None, "inputs[0].data"),
        (-8, b"\0" * 8, None, "inputs[0].parameters.binary_data_size"),
        (10**30, b"\0" * 8, None, "inputs[0].parameters.binary_data_size"),
        (True, b"\0", None, "inputs[0].parameters.binary_data_size"),
        ("8", b"\0" * 8, None, "inputs[0].parameters.binary_data_size"),
        (8, b"\0" * 8, 0, "Inference-Header-Content-Length"),
        (8, b"\0" * 8, 10_000, "Inference-Header-Content-Length"),
        (8, b"\0" * 8, -1, "Inference-Header-Content-Length"),
        (8, b"\0" * 8, "many", "Inference-Header-Content-Length"),
        (8, b"\0" * 8, 20, "body"),
    ],
)
@pytest.mark.parametrize("encoded", [False, True])
def test_binary_that_lies(
    http: httpx.Client, refused: Check, size: Any, data: bytes, length: Any, field: str, encoded: bool
) -> None:
    parameters = {"parameters": {"encoded": True}} if encoded else {}
    tensor = {"name": "distance", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": size}}
    text = json.dumps(parameters | {"inputs": [tensor]}).encode()
    headers = {"inference-header-content-length": str(len(text) if length is None else length)}
    refused(http.post(INFER, content=text + data, headers=headers), 400, field=field)


def test_texts_in_binary_that_are_cut_or_no_text(http: httpx.Client, refused: Check) -> None:
    for data in (struct.pack("<I", 9) + b"UA", struct.pack("<I", 2**32 - 1) + b"a", b"\1\0", struct.pack("<I", 1) + b"\xff"):
        inputs = [
            {"name": "distance", "datatype": "FP32", "shape": [1], "data": [1]},
            {"name": "carrier", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}},
        ]
        text = json.dumps({"inputs": inputs}).encode()
        answer = http.post(INFER, content=text + data, headers={"inference-header-content-length": str(len(text))})
        refused(answer, 400, field="inputs[1].data")


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", INFER),
        ("POST", "/v1/models/flights:predict"),
        ("POST", "/records?model=flights"),
        ("PUT", "/records/x?model=flights"),
        ("POST", "/v2/models/net/infer"),
        ("POST", "/v1/models/net:predict"),
    ],
)
def test_a_body_over_the_limit(http: httpx.Client, refused: Check, method: str, path: str) -> None:
    answer = http.request(method, path, content=b" " * 2_000_001, headers={"content-type": "application/json"})
    refused(answer, 413, "at most 2000000 bytes", field="body")

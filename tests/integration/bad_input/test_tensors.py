"""Bad tensors over the wire, to the predictor and to the transformer: JSON that is wrong, shapes and sizes that do not fit."""

import json
import struct
from collections.abc import Callable
from typing import Any

import httpx
import pytest

Check = Callable[..., dict[str, Any]]
INFER = "/v2/models/net/infer"


def tensor(**changes: Any) -> str:
    """A v2 body with one input of the model `net`, changed; a change to None removes the member."""
    good = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]} | changes
    return json.dumps({"inputs": [{name: value for name, value in good.items() if value is not None}]})


@pytest.mark.parametrize(
    "body, field, words",
    [
        ("", "body", "JSON"),
        ("{", "body", "JSON"),
        ("[]", "body", "object"),
        ("{}", "inputs", ""),
        ('{"inputs": 3}', "inputs", ""),
        ('{"inputs": []}', "inputs", ""),
        ('{"inputs": [3]}', "inputs[0]", ""),
        (tensor(name=None), "inputs[0].name", ""),
        (tensor(name=3), "inputs[0].name", ""),
        (tensor(name="y"), "inputs[0].name", "x"),
        (tensor(datatype=None), "inputs[0].datatype", ""),
        (tensor(datatype="FP33"), "inputs[0].datatype", "FP32"),
        (tensor(datatype="INT64"), "inputs[0].datatype", "FP32"),
        (tensor(shape=None), "inputs[0].shape", ""),
        (tensor(shape=[1, 4]), "inputs[0]", ""),
        (tensor(shape=[2, 3]), "inputs[0]", ""),
        (tensor(shape=[-1, 3]), "inputs[0].shape", ""),
        (tensor(shape=[1.5, 2]), "inputs[0].shape", ""),
        (tensor(shape="1,3"), "inputs[0].shape", ""),
        (tensor(shape=[1] * 100, data=[1]), "inputs[0].shape", "axes"),
        (tensor(shape=[2**40, 2**40], data=[1]), "inputs[0].shape", ""),
        (tensor(shape=[0, 2**62], data=[]), "inputs[0].shape", ""),
        (tensor(shape=[10**400], data=[]), "inputs[0].shape", ""),
        (tensor(shape=[3]), "inputs[0].shape", "-1, 3"),
        (tensor(shape=[1, 2], data=[1, 2]), "inputs[0].shape", "-1, 3"),
        (tensor(data=None), "inputs[0].data", ""),
        (tensor(data=["a", 2, 3]), "inputs[0].data", ""),
        (tensor(data=[True, 2, 3]), "inputs[0].data", ""),
        (tensor(data={"a": 1}), "inputs[0].data", ""),
        (tensor(data="123"), "inputs[0].data", ""),
        (tensor(data=[1e39, 1, 1]), "inputs[0].data", ""),
        (tensor().replace("[1, 2, 3]", "[NaN, 2, 3]"), None, "JSON"),
        (tensor().replace("[1, 2, 3]", "[" * 100_000 + "]" * 100_000), None, ""),
        (tensor().replace("[1, 2, 3]", "[" * 100_000), None, ""),
        ('{"parameters": ' + '{"a":' * 5000 + "1" + "}" * 5000 + ', "inputs": []}', None, ""),
        (tensor()[:-1] + ', "outputs": [{"name": "nothing"}]}', "outputs[0].name", ""),
        (tensor()[:-1] + ', "outputs": 3}', "outputs", ""),
        (tensor()[:-1] + ', "id": {}}', "id", ""),
    ],
)
def test_json_tensors(tensors: httpx.Client, body: str, field: str | None, words: str) -> None:
    answer = tensors.post(INFER, content=body)
    assert answer.status_code in (400, 413), answer.text[:300]
    message = answer.json()["error"]
    if field is not None:
        assert message.startswith(field), message
    assert words in message


def binary(
    header: dict[str, Any] | None = None, *, size: Any = 12, data: bytes = b"\x00" * 12, length: Any = None, **changes: Any
) -> dict[str, Any]:
    """A request with one binary input; `length` is what the header claims of the JSON's length."""
    one = {"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": size}} | changes
    text = json.dumps(header or {"inputs": [one]}).encode()
    headers = {
        "inference-header-content-length": str(len(text) if length is None else length),
        "content-type": "application/octet-stream",
    }
    return {"content": text + data, "headers": headers}


@pytest.mark.parametrize(
    "request_parts, field",
    [
        (binary(data=b"\x00" * 11), "inputs[0]"),
        (binary(data=b""), "inputs[0]"),
        (binary(data=b"\x00" * 13), ""),
        (binary(size=11, data=b"\x00" * 11), "inputs[0]"),
        (binary(size=16, data=b"\x00" * 16), "inputs[0]"),
        (binary(size=-12), "inputs[0]"),
        (binary(size=10**30), "inputs[0]"),
        (binary(size="12"), "inputs[0]"),
        (binary(size=True), "inputs[0]"),
        (binary(shape=[2, 3]), "inputs[0]"),
        (binary(shape=[2**31, 3]), "inputs[0]"),
        (binary(length=0), ""),
        (binary(length=1), ""),
        (binary(length=10_000), "Inference-Header-Content-Length"),
        (binary(length=-1), "Inference-Header-Content-Length"),
        (binary(length="many"), "Inference-Header-Content-Length"),
        (binary(length=10**30), "Inference-Header-Content-Length"),
        (binary(length=40), ""),
        (binary(data=[1, 2, 3].__repr__().encode()), "inputs[0]"),
    ],
)
def test_binary_tensors_that_lie(tensors: httpx.Client, refused: Check, request_parts: dict[str, Any], field: str) -> None:
    answer = tensors.post(INFER, **request_parts)
    document = refused(answer, 413 if b"2147483648" in request_parts["content"] else 400)
    assert document["error"].startswith(field), document


def words(*elements: bytes, cut: int = 0) -> bytes:
    packed = b"".join(struct.pack("<I", len(element)) + element for element in elements)
    return packed[: len(packed) - cut]


@pytest.mark.parametrize(
    "data, shape",
    [
        (words(b"a", b"b", cut=1), [2]),
        (words(b"a", b"b", cut=5), [2]),
        (words(b"a", b"b", b"c"), [2]),
        (words(b"a"), [2]),
        (struct.pack("<I", 2**32 - 1) + b"a", [1]),
        (b"\x01\x00", [1]),
        (words(b"\xff\xfe"), [1, 1]),
    ],
)
def test_texts_in_binary_that_are_cut_or_no_text(tensors: httpx.Client, refused: Check, data: bytes, shape: list[int]) -> None:
    name = tensors.get("/v2/models/words").json()["inputs"][0]["name"]
    request = binary(name=name, datatype="BYTES", shape=shape, size=len(data), data=data)
    refused(tensors.post("/v2/models/words/infer", **request), 400, field="inputs[0].data")


def test_inputs_that_are_missing_or_twice(tensors: httpx.Client, refused: Check) -> None:
    inputs = tensors.get("/v2/models/several").json()["inputs"]
    one = {"name": inputs[0]["name"], "datatype": inputs[0]["datatype"], "shape": [1] * len(inputs[0]["shape"]), "data": [1]}
    refused(tensors.post("/v2/models/several/infer", json={"inputs": [one]}), 400, inputs[1]["name"])
    refused(tensors.post("/v2/models/several/infer", json={"inputs": [one, one]}), 400, one["name"])


def test_models_and_versions_that_are_not_there(tensors: httpx.Client, refused: Check) -> None:
    refused(tensors.post("/v2/models/nobody/infer", content=tensor()), 404, "nobody")
    refused(tensors.post("/v2/models/net/versions/99/infer", content=tensor()), 404, "99")
    refused(tensors.get("/v2/models/nobody"), 404, "nobody")
    refused(tensors.get("/v2/models/net/bundle/secrets.txt"), 404, "secrets.txt")
    refused(tensors.get("/v2/models/net/bundle/%2e%2e/%2e%2e/etc/passwd"), 404)


def test_a_body_over_the_limit(tensors: httpx.Client, refused: Check) -> None:
    refused(tensors.post(INFER, content=b" " * 2_000_001), 413, "at most 2000000 bytes", field="body")


@pytest.mark.parametrize(
    "body, words",
    [
        ('{"instances": [[1, 2]]}', "expected [-1, 3], got [1, 2]"),
        ('{"instances": [["a", 2, 3]]}', "instances"),
        ('{"instances": [[1, 2, 3], [1, 2]]}', "instances"),
        ('{"instances": []}', "instances"),
        ('{"instances": [{"y": [1, 2, 3]}]}', "instances[0]"),
        ('{"instances": [{}]}', "instances[0]"),
        ('{"instances": ' + "[" * 50_000 + "]" * 50_000 + "}", ""),
    ],
)
def test_instances(tensors: httpx.Client, refused: Check, body: str, words: str) -> None:
    refused(tensors.post("/v1/models/net:predict", content=body), 400, words)


def feature(name: str, datatype: str, data: Any, shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


@pytest.mark.parametrize(
    "inputs, words",
    [
        ([feature("distance", "FP32", [None])], "distance"),
        ([feature("distance", "BYTES", ["far"])], "distance"),
        ([feature("distance", "FP32", [1, 2], [2]), feature("stops", "INT32", [1])], "stops"),
        ([feature("distance", "FP32", [1]), feature("colour", "BYTES", ["red"])], "colour"),
        ([feature("carrier", "BYTES", ["UA"])], "distance"),
        ([feature("distance", "FP32", [1]), feature("seats", "INT64", [1])], "seats"),
        ([feature("distance", "FP32", [1]), feature("stops", "INT64", [2**40])], "stops"),
        ([feature("distance", "FP32", [1, 2], [1, 2])], "distance"),
    ],
)
def test_raw_features_as_tensors(http: httpx.Client, refused: Check, inputs: list[dict[str, Any]], words: str) -> None:
    refused(http.post("/v2/models/flights/infer", json={"inputs": inputs}), 400, words)


def test_nan_where_it_is_refused(http: httpx.Client, refused: Check) -> None:
    data = struct.pack("<ff", 1.0, float("nan"))
    request = binary(name="distance", shape=[2], size=8, data=data)
    refused(http.post("/v2/models/flights/infer", **request), 400, "distance", "missing")
    ints = [feature("distance", "FP32", [1]), feature("stops", "INT32", [None])]
    refused(http.post("/v2/models/flights/infer", json={"inputs": ints}), 400, "inputs[1].data")

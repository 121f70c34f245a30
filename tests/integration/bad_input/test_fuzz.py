"""Whatever is sent, the answer is below 500 or the connection is closed, and the server answers the next caller."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.testing.raw_http import RawConnection
from penstock.testing.server import ServerProcess

PATHS = [
    "/models/flights/predict", "/models/pictures/predict", "/predict/x?model=flights", "/records?model=flights",
    "/records/x?model=flights", "/records:import?model=flights", "/v1/models/flights:predict",
    "/v2/models/flights/infer", "/v2/models/flights",
    "/v2/models/flights/versions/1/infer", "/v2/models/pictures/infer", "/models/nobody/predict", "/metrics", "/v2",
]  # fmt: skip
PREDICTOR_PATHS = [
    "/v2/models/net/infer",
    "/v1/models/net:predict",
    "/v2/models/words/infer",
    "/v2/models/several/infer",
    "/v2/models/net",
]
TYPES = [
    "application/json",
    "text/csv",
    "multipart/form-data; boundary=b",
    "image/png",
    "application/octet-stream",
    "text/plain",
    "",
]
NAMES = ["content-type", "content-encoding", "inference-header-content-length", "penstock-timeout-ms", "penstock-priority",
         "traceparent", "penstock-expect-bundle", "penstock-route-key", "x-request-id", "expect", "accept"]  # fmt: skip

words = st.sampled_from(
    ["rows", "distance", "carrier", "stops", "leaves", "tailnum", "picture", "options", "data", "inputs", "outputs", "name",
     "datatype", "shape", "parameters", "binary_data_size", "instances", "values", "id", "event_time", "x", "FP32", "BYTES",
     "INT64", "BOOL", "encoded"]
)  # fmt: skip
leaves = st.none() | st.booleans() | st.integers() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=5) | words
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
v2 = st.fixed_dictionaries(
    {
        "inputs": st.lists(
            st.fixed_dictionaries({"name": words, "datatype": words, "shape": documents, "data": documents}), max_size=2
        )
    },
    optional={"outputs": documents, "parameters": documents, "id": documents},
)
rows = st.fixed_dictionaries(
    {"rows": st.lists(st.dictionaries(words, documents, max_size=4), max_size=3)}, optional={"options": documents}
)
bodies = (
    st.binary(max_size=300)
    | (documents | v2 | rows).map(lambda value: json.dumps(value).encode())
    | st.lists(st.lists(words | st.text(max_size=4), max_size=4).map(",".join), max_size=5).map(
        lambda lines: "\n".join(lines).encode()
    )
    | st.binary(max_size=100).map(
        lambda data: b'--b\r\nContent-Disposition: form-data; name="picture"; filename="p"\r\n\r\n' + data + b"\r\n--b--\r\n"
    )
)
values = st.sampled_from(
    ["1", "0", "-1", "application/json", "gzip", "100-continue", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"]
) | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)
headers = st.dictionaries(st.sampled_from(NAMES), values, max_size=3)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def send(client: httpx.Client, method: str, path: str, body: bytes, content_type: str, more: dict[str, str]) -> None:
    answer = client.request(method, path, content=body, headers={"content-type": content_type} | more)
    assert answer.status_code < 500, (answer.status_code, answer.text[:300])
    assert "Traceback" not in answer.text


@FUZZ
@given(st.sampled_from(["POST", "PUT", "GET", "DELETE"]), st.sampled_from(PATHS), bodies, st.sampled_from(TYPES), headers)
def test_any_body_to_the_all_in_one_server(
    http: httpx.Client, method: str, path: str, body: bytes, kind: str, more: dict[str, str]
) -> None:
    send(http, method, path, body, kind, more)
    assert http.post("/models/flights/predict", json={"rows": [{"distance": 1}]}).status_code == 200


@FUZZ
@given(st.sampled_from(PREDICTOR_PATHS), bodies, st.sampled_from(TYPES), headers)
def test_any_body_to_the_predictor(tensors: httpx.Client, path: str, body: bytes, kind: str, more: dict[str, str]) -> None:
    send(tensors, "POST", path, body, kind, more)
    good = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    assert tensors.post("/v2/models/net/infer", json=good).status_code == 200


@FUZZ
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"POST /models/flights/predict HTTP/1.1\r\n", b"GET /predict/x HTTP/1.1\r\nhost: x\r\n"]),
)
def test_any_bytes_on_a_connection(server: ServerProcess, noise: bytes, start: bytes) -> None:
    with RawConnection(server.port, timeout_s=10) as connection:
        connection.send(start + noise + b"\r\n\r\n")
        connection.sock.shutdown(1)
        received = b""
        while chunk := connection.sock.recv(65536):
            received += chunk
    assert not received or received.split(b" ")[1][:1] in (b"2", b"4", b"3"), received[:200]


@pytest.mark.parametrize("path", PATHS)
def test_the_server_answers_afterwards(http: httpx.Client, path: str) -> None:
    answer: Any = http.get(path)
    assert answer.status_code < 500

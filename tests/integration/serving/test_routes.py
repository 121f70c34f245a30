"""Every route over the in-memory data plane: what it answers, its headers, its errors."""

import re

import numpy as np
import orjson
import pytest

from penstock.testing.plane import BUNDLE
from penstock.testing.raw_http import RawAnswer, RawConnection, infer_body, raw_request
from penstock.testing.server import ServerProcess

INFER = "/v2/models/echo/infer"


@pytest.fixture
def ask(echo: ServerProcess):
    """A function that sends one request on one kept connection."""
    with RawConnection(echo.port) as connection:

        def send(method: str, path: str, body: bytes | None = None, **headers: str) -> RawAnswer:
            lines = {name.replace("_", "-"): value for name, value in headers.items()}
            return connection.send(raw_request(method, path, body, lines)).answer()

        yield send


class TestInfer:
    def test_json(self, ask):
        answer = ask("POST", INFER, infer_body([1.5, 2.5], id="a"))
        assert answer.status == 200
        assert answer.json() == {
            "model_name": "echo",
            "model_version": "1",
            "id": "a",
            "outputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2.5]}],
        }
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["penstock-bundle"] == BUNDLE

    def test_versioned(self, ask):
        assert ask("POST", "/v2/models/echo/versions/1/infer", infer_body([1.0])).status == 200

    def test_binary_both_ways(self, ask):
        data = np.arange(6, dtype="<f4")
        head = orjson.dumps(
            {
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}],
                "parameters": {"binary_data_output": True},
            }
        )
        answer = ask("POST", INFER, head + data.tobytes(), Inference_Header_Content_Length=str(len(head)))
        length = int(answer.headers["inference-header-content-length"])
        assert answer.headers["content-type"] == "application/octet-stream"
        assert orjson.loads(answer.body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 24}
        assert answer.body[length:] == data.tobytes()

    def test_v1(self, ask):
        answer = ask("POST", "/v1/models/echo:predict", b'{"instances": [[1, 2], [3, 4]]}')
        assert answer.json() == {"predictions": [[1.0, 2.0], [3.0, 4.0]]}
        assert answer.headers["penstock-bundle"] == BUNDLE

    @pytest.mark.parametrize(
        "path, body, headers, status, text",
        [
            (INFER, b"{", {}, 400, ""),
            (INFER, b'{"inputs": 3}', {}, 400, "inputs"),
            (INFER, infer_body([1.0], "fail"), {}, 400, "inputs[0]: asked to fail"),
            ("/v2/models/other/infer", infer_body([1.0]), {}, 404, "expected one of echo"),
            ("/v2/models/echo/versions/2/infer", infer_body([1.0]), {}, 404, "expected 1"),
            ("/v1/models/other:predict", b'{"instances": [[1]]}', {}, 404, "expected one of echo"),
            ("/v1/models/echo:predict", b'{"rows": [[1]]}', {}, 400, "instances"),
            (INFER, infer_body([1.0]), {"Penstock_Timeout_Ms": "soon"}, 400, "Penstock-Timeout-Ms: expected milliseconds"),
            (
                INFER,
                infer_body([1.0]),
                {"Penstock_Priority": "high"},
                400,
                "Penstock-Priority: expected a whole number from -9999 to 9999",
            ),
            (INFER, infer_body([1.0]), {"Penstock_Expect_Bundle": "v7"}, 400, "Penstock-Expect-Bundle: expected sha256:"),
            (INFER, infer_body([1.0]), {"Inference_Header_Content_Length": "x"}, 400, "Inference-Header-Content-Length"),
            (INFER, infer_body([1.0]), {"Content_Encoding": "gzip"}, 415, "Content-Encoding"),
            (INFER, infer_body([0.2], "delay"), {"Penstock_Timeout_Ms": "50"}, 504, ""),
        ],
    )
    def test_errors_name_what_is_wrong(self, ask, path, body, headers, status, text):
        answer = ask("POST", path, body, **headers)
        assert answer.status == status
        assert text in answer.json()["error"]
        assert answer.headers["x-request-id"]


class TestRequestId:
    def test_a_given_id_comes_back_on_every_way(self, ask):
        for method, path, body in (
            ("POST", INFER, infer_body([1.0])),
            ("GET", "/v2", None),
            ("GET", "/nothing", None),
            ("POST", INFER, b"{"),
        ):
            assert ask(method, path, body, X_Request_Id="mine-1").headers["x-request-id"] == "mine-1"

    def test_an_id_that_cannot_be_echoed_is_replaced(self, ask):
        for given in ("with space", "a" * 300, "ü"):
            assert re.fullmatch(
                r"[0-9a-f]{12}-[0-9a-f]+", ask("POST", INFER, infer_body([1.0]), X_Request_Id=given).headers["x-request-id"]
            )

    def test_made_ids_differ(self, ask):
        ids = {ask("POST", INFER, infer_body([1.0])).headers["x-request-id"] for _ in range(20)}
        assert len(ids) == 20


class TestProtocol:
    def test_server_metadata(self, ask):
        document = ask("GET", "/v2").json()
        assert document["name"] == "penstock"
        assert "binary_tensor_data" in document["extensions"]

    def test_model_metadata_names_the_bundle(self, ask):
        for path in ("/v2/models/echo", "/v2/models/echo/versions/1"):
            answer = ask("GET", path)
            assert answer.json()["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}]
            assert answer.headers["penstock-bundle"] == BUNDLE

    @pytest.mark.parametrize(
        "path, document",
        [
            ("/v2/health/live", {"live": True}),
            ("/v2/health/ready", {"ready": True}),
            ("/v2/models/echo/ready", {"name": "echo", "ready": True}),
            ("/v2/models/echo/versions/1/ready", {"name": "echo", "ready": True}),
            ("/v1/models", {"models": ["echo"]}),
            ("/v1/models/echo", {"name": "echo", "ready": True}),
            ("/readyz", {"ready": True, "reasons": {}}),
            ("/healthz", {"status": "alive", "state": "ready"}),
        ],
    )
    def test_states(self, ask, path, document):
        answer = ask("GET", path)
        assert (answer.status, answer.json()) == (200, document)

    @pytest.mark.parametrize(
        "path", ["/v2/models/no", "/v2/models/no/ready", "/v2/models/echo/versions/3", "/v1/models/no", "/v2/none"]
    )
    def test_unknown_names_get_the_protocols_404(self, ask, path):
        answer = ask("GET", path)
        assert answer.status == 404
        assert list(answer.json()) == ["error"]

    def test_bundle_files(self, ask):
        answer = ask("GET", "/v2/models/echo/bundle/features.yaml")
        assert (answer.status, answer.body) == (200, b"formatVersion: 1\n")
        assert answer.headers["penstock-bundle"] == BUNDLE
        for path in ("model.onnx", "..%2F..%2Fetc%2Fpasswd", "../../etc/passwd"):
            assert ask("GET", f"/v2/models/echo/bundle/{path}").status == 404


class TestOperations:
    def test_elsewhere_errors_are_problems(self, ask):
        answer = ask("GET", "/nothing/here")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 404
        answer = ask("DELETE", "/healthz")
        assert (answer.status, answer.json()["status"]) == (405, 405)
        assert answer.headers["allow"] == "GET, HEAD"
        assert answer.json()["detail"] == "DELETE is not for /healthz; expected GET"

    def test_metrics_count_by_model_bundle_and_kind(self, ask):
        before = ask("GET", "/metrics").body.decode()
        ask("POST", INFER, infer_body([1.0]))
        ask("POST", INFER, infer_body([1.0], "fail"))
        after = ask("GET", "/metrics").body.decode()
        good = f'penstock_requests_total{{bundle="{BUNDLE}",model="echo"}}'
        bad = 'penstock_errors_total{bundle="",kind="invalid_input",model="echo"}'
        assert value(after, good) == value(before, good) + 1
        assert value(after, bad) == value(before, bad) + 1
        assert value(after, f'penstock_request_duration_seconds_count{{bundle="{BUNDLE}",model="echo"}}') == value(after, good)
        assert "process_resident_memory_bytes" in after

    def test_names_that_callers_make_up_are_no_labels(self, ask):
        for number in range(3):
            ask("POST", f"/v2/models/made-up-{number}/infer", infer_body([1.0]))
            ask("POST", f"/v2/models/made-up-{number}/infer", b"{")
        assert "made-up" not in ask("GET", "/metrics").body.decode()

    def test_docs_need_nothing_from_elsewhere(self, ask):
        page = ask("GET", "/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert not re.findall(rb"(?:src|href)\s*=\s*[\"'](?:https?:)?//", page.body)
        assert b"openapi.json" in page.body
        assert b'<link rel="icon" href="data:,">' in page.body, "or the browser asks for /favicon.ico"

    def test_openapi_shows_the_hot_routes(self, ask):
        paths = ask("GET", "/openapi.json").json()["paths"]
        operation = paths["/v2/models/echo/infer"]["post"]
        assert "application/json" in operation["requestBody"]["content"]
        assert "post" in paths["/v1/models/echo:predict"]


def value(text: str, series: str) -> float:
    for line in text.splitlines():
        if line.startswith(series + " "):
            return float(line.rpartition(" ")[2])
    return 0.0

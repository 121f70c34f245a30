"""Calls over the wire: metadata, errors by kind, limits, the same counters as HTTP, the transformer's raw features."""

import re
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from penstock.protocol.grpc import messages
from penstock.testing.grpc_client import GrpcCaller, infer_message
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until

X = np.ones((2, 2), np.float32)
CODE = grpc.StatusCode


@pytest.fixture(scope="module")
def caller(echo: ServerProcess) -> Iterator[GrpcCaller]:
    with GrpcCaller(echo.grpc_address) as made:
        yield made


def test_an_answer_names_its_bundle_and_request(caller: GrpcCaller) -> None:
    answer, trailers = caller.call("ModelInfer", infer_message("echo", x=X), x_request_id="mine")
    assert (answer.model_name, answer.model_version) == ("echo", "1")
    assert answer.raw_output_contents[0] == X.tobytes()
    assert trailers["x-request-id"] == "mine"
    assert re.fullmatch(r"echo@sha256:[0-9a-f]{64}", trailers["penstock-bundle"])
    _, trailers = caller.call("ModelInfer", infer_message("echo", x=X), x_request_id="a b")
    assert trailers["x-request-id"] not in ("", "a b")


@pytest.mark.parametrize(
    ("method", "message", "metadata", "code", "text"),
    [
        ("ModelInfer", infer_message("nobody", x=X), {}, CODE.NOT_FOUND, "no model 'nobody'"),
        ("ModelInfer", infer_message("echo", fail=X), {}, CODE.INVALID_ARGUMENT, "inputs[0]: asked to fail"),
        ("ModelInfer", b"\xff", {}, CODE.INVALID_ARGUMENT, "expected a inference.ModelInferRequest"),
        ("ModelInfer", messages.ModelInferRequest(model_name="echo"), {}, CODE.INVALID_ARGUMENT, "inputs: expected at least one"),
        ("ModelInfer", infer_message("echo", x=np.zeros(60_000, np.float32)), {}, CODE.INVALID_ARGUMENT,
         "message: expected at most 200000 bytes, got 2400"),
        ("ModelInfer", infer_message("echo", x=X), {"penstock_timeout_ms": "soon"}, CODE.INVALID_ARGUMENT, "Penstock-Timeout-Ms"),
        ("ModelInfer", infer_message("echo", x=X), {"penstock_priority": "high"}, CODE.INVALID_ARGUMENT, "Penstock-Priority"),
        ("ModelInfer", infer_message("echo", x=X), {"penstock_expect_bundle": "new"}, CODE.INVALID_ARGUMENT, "Penstock-Expect"),
        ("ModelReady", messages.ModelReadyRequest(name="nobody"), {}, CODE.NOT_FOUND, "no model 'nobody'"),
        ("ModelReady", messages.ModelReadyRequest(), {}, CODE.INVALID_ARGUMENT, "name: expected a model's name"),
        ("ModelReady", messages.ModelReadyRequest(name="echo", version="9"), {}, CODE.NOT_FOUND, "no version '9'"),
        ("ModelMetadata", messages.ModelMetadataRequest(name="nobody"), {}, CODE.NOT_FOUND, "no model 'nobody'"),
        ("ServerLive", b"\x0a", {}, CODE.INVALID_ARGUMENT, "expected a inference.ServerLiveRequest"),
        ("RepositoryIndex", b"", {}, CODE.UNIMPLEMENTED, "a predictor opens it with --repository_api"),
        ("RepositoryModelLoad", messages.RepositoryModelLoadRequest(), {}, CODE.UNIMPLEMENTED, "--repository_api"),
        ("RepositoryModelUnload", messages.RepositoryModelUnloadRequest(), {}, CODE.UNIMPLEMENTED, "--repository_api"),
        ("TraceSetting", b"", {}, CODE.UNIMPLEMENTED, "not found"),
    ],
)  # fmt: skip
def test_what_is_refused_has_a_code_a_reason_and_an_id(
    caller: GrpcCaller, method: str, message: Any, metadata: dict[str, str], code: grpc.StatusCode, text: str
) -> None:
    found, details, trailers = caller.refused(method, message, x_request_id="mine", **metadata)
    assert found is code, details
    assert text in details
    assert method == "TraceSetting" or trailers["x-request-id"] == "mine"


def test_a_message_far_beyond_the_limit_is_refused_unread(caller: GrpcCaller) -> None:
    code, details, _ = caller.refused("ModelInfer", bytes(500_000))
    assert code is CODE.RESOURCE_EXHAUSTED
    assert "larger than max" in details
    with_gzip: Any = caller.channel.unary_unary(f"/{messages.SERVICE}/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        with_gzip(bytes(50_000_000), compression=grpc.Compression.Gzip, timeout=30)
    error: Any = caught.value
    assert error.code() is CODE.RESOURCE_EXHAUSTED


def test_a_deadline_ends_the_call(caller: GrpcCaller) -> None:
    late = infer_message("echo", delay=np.array([0.5], np.float32))
    code, _, _ = caller.refused("ModelInfer", late, timeout_s=0.05)
    assert code is CODE.DEADLINE_EXCEEDED
    code, details, trailers = caller.refused("ModelInfer", late, penstock_timeout_ms="50")
    assert code is CODE.DEADLINE_EXCEEDED, details
    assert trailers["x-request-id"]


def test_calls_are_counted_with_http_s(echo: ServerProcess, caller: GrpcCaller) -> None:
    def counts() -> dict[str, float]:
        text = httpx.get(f"{echo.url}/metrics").text
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[:1] != "#"}

    def sums(found: dict[str, float], family: str, part: str) -> float:
        return sum(value for name, value in found.items() if name.startswith(f"{family}{{") and part in name)

    before = counts()
    caller.call("ModelInfer", infer_message("echo", x=X))
    caller.refused("ModelInfer", infer_message("echo", fail=X))
    caller.refused("ModelInfer", b"\xff")
    after = counts()
    assert sums(after, "penstock_requests_total", 'model="echo"') - sums(before, "penstock_requests_total", 'model="echo"') == 2
    kind = 'kind="invalid_input"'
    assert sums(after, "penstock_errors_total", kind) - sums(before, "penstock_errors_total", kind) == 2
    assert sums(after, "penstock_in_flight", "") == sums(before, "penstock_in_flight", "")
    sent = len(infer_message("echo", x=X).SerializeToString()) + len(infer_message("echo", fail=X).SerializeToString())
    family = "penstock_request_bytes_total"
    assert sums(after, family, 'model="echo"') - sums(before, family, 'model="echo"') == sent


def test_raw_features_by_name_reach_the_transformer(transformer: ServerProcess) -> None:
    with GrpcCaller(transformer.grpc_address) as caller:
        signature, _ = caller.call("ModelMetadata", messages.ModelMetadataRequest(name="flights"))
        assert {tensor.name for tensor in signature.inputs} == {"distance", "seats"}
        raw = infer_message("flights", distance=np.array([10, 20], np.float32), seats=np.array([150, 90]))
        answer, trailers = caller.call(
            "ModelInfer", raw, penstock_route_key="k", traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01"
        )
        digest = trailers["penstock-bundle"].rpartition("@")[2]
        encoded = infer_message("flights", x=np.array([[10, 150], [20, 90]], np.float32))
        encoded.parameters["encoded"].bool_param = True
        same, _ = caller.call("ModelInfer", encoded, penstock_expect_bundle=digest)
        assert answer.raw_output_contents[0] == same.raw_output_contents[0]
        typed = messages.ModelInferRequest(model_name="flights")
        typed.inputs.add(name="distance", datatype="FP32", shape=[1], contents={"fp32_contents": [10]})
        typed.inputs.add(name="seats", datatype="INT64", shape=[1], contents={"int64_contents": [150]})
        found, _ = caller.call("ModelInfer", typed)
        assert found.outputs[0].contents.fp32_contents[0] == np.frombuffer(answer.raw_output_contents[0], "<f4")[0]
        code, _, trailers = caller.refused("ModelInfer", raw, penstock_expect_bundle="sha256:" + "0" * 64)
        assert code is CODE.FAILED_PRECONDITION
        missing = infer_message("flights", seats=np.array([150]))
        code, details, _ = caller.refused("ModelInfer", missing)
        assert code is CODE.INVALID_ARGUMENT
        assert "distance" in details


@pytest.mark.parametrize(
    "method",
    ["SystemSharedMemoryStatus", "CudaSharedMemoryRegister", "TraceSetting", "LogSettings", "RepositoryModelLoad", "Nonsense"],
)
def test_what_is_not_there_is_unimplemented(caller: GrpcCaller, method: str) -> None:
    call: Any = caller.channel.unary_unary(f"/{messages.SERVICE}/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=30)
    error: Any = caught.value
    assert error.code() is CODE.UNIMPLEMENTED


def test_what_callers_send_is_in_no_log_and_no_metric(transformer: ServerProcess) -> None:
    canary = np.array([b"CANARY"], object)
    named = infer_message("flights", CANARY=X)
    named.id = "CANARY"
    wrong = [
        named,
        infer_message("CANARY", distance=canary),
        infer_message("flights", distance=canary, seats=np.array([1])),
        messages.ModelInferRequest(model_name="flights", model_version="CANARY"),
        b"\x0a\x06CANARY\xff",
    ]
    headers = {"penstock_route_key": "CANARY", "traceparent": "CANARY", "authorization": "Bearer CANARY", "x_own": "CANARY"}
    before = len(transformer.lines)
    with GrpcCaller(transformer.grpc_address) as caller:
        for message in wrong:
            caller.refused("ModelInfer", message, **headers)
            caller.refused("ModelInfer", message, penstock_timeout_ms="CANARY")
        caller.refused("ModelMetadata", messages.ModelMetadataRequest(name="CANARY"))
        stream: Any = caller.channel.stream_stream(f"/{messages.SERVICE}/ModelStreamInfer")
        raw = [message if isinstance(message, bytes) else message.SerializeToString() for message in wrong]
        assert len(list(stream(iter(raw), timeout=30))) == len(wrong)
        good = infer_message("flights", distance=np.array([1], np.float32), seats=np.array([1]))
        answer, trailers = caller.call("ModelInfer", good)
        assert "CANARY" not in f"{answer} {trailers}"
    assert "CANARY" not in httpx.get(f"{transformer.url}/metrics").text
    until(lambda: len(transformer.lines) > before)
    assert [line for line in transformer.lines if "CANARY" in line] == []

"""Models are swapped and taken away while they are asked over every way in: answers are whole and right, refusals say what is."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
from websockets.sync.client import connect

from penstock.protocol.grpc import messages
from penstock.testing import models
from penstock.testing.grpc_client import GrpcCaller, infer_message
from penstock.testing.raw_http import RawConnection, raw_request
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until

X = [0.5, -1.0, 2.0]
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": X}
GONE = "gone"
Ask = Callable[[], tuple[str, float]]
"""Asks once: the bundle that answered and its answer; GONE where the model was said not to be there. Raises for all else."""


@contextmanager
def over_grpc(server: ServerProcess) -> Iterator[Ask]:
    message = infer_message("m", x=np.float32([X]))
    with GrpcCaller(server.grpc_address) as caller:

        def ask() -> tuple[str, float]:
            try:
                answer, trailers = caller.call("ModelInfer", message)
            except grpc.RpcError as raised:
                error: Any = raised
                assert (error.code(), "no model 'm'" in error.details()) == (grpc.StatusCode.NOT_FOUND, True), error
                return GONE, 0.0
            return trailers["penstock-bundle"], float(np.frombuffer(answer.raw_output_contents[0], "<f4")[0])

        yield ask


@contextmanager
def over_a_grpc_stream(server: ServerProcess) -> Iterator[Ask]:
    message = infer_message("m", x=np.float32([X])).SerializeToString()
    with GrpcCaller(server.grpc_address) as caller:
        more, ended = threading.Semaphore(0), threading.Event()

        def requests() -> Iterator[bytes]:
            while more.acquire() and not ended.is_set():
                yield message

        stream: Any = caller.channel.stream_stream(f"/{messages.SERVICE}/ModelStreamInfer")
        answers = stream(requests())

        def ask() -> tuple[str, float]:
            more.release()
            answer = messages.ModelStreamInferResponse.FromString(next(answers))
            if answer.error_message:
                assert "no model 'm'" in answer.error_message, answer
                return GONE, 0.0
            found = answer.infer_response
            return found.parameters["bundle"].string_param, float(np.frombuffer(found.raw_output_contents[0], "<f4")[0])

        yield ask
        ended.set()
        more.release()


@contextmanager
def over_websocket(server: ServerProcess) -> Iterator[Ask]:
    with connect(f"ws://127.0.0.1:{server.port}/v2/models/m/stream") as client:

        def ask() -> tuple[str, float]:
            client.send(json.dumps({"id": "1", "inputs": [TENSOR]}))
            while "credit" in (answer := json.loads(client.recv(timeout=30))):
                pass
            if "error" in answer:
                assert (answer["kind"], "no model 'm'" in answer["error"]) == ("not_found", True), answer
                return GONE, 0.0
            return answer["parameters"]["bundle"], float(answer["outputs"][0]["data"][0])

        yield ask


def running_bytes(text: str) -> float:
    lines = [line for line in text.splitlines() if line.startswith("penstock_running_bytes{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def options(directory: Path, *, profile_s: float, max_rows: int) -> tuple[str, ...]:
    fixed = ("--model_name", "m", "--model_dir", str(directory), "--drain_delay_s", "0")
    return (*fixed, "--profile_s", str(profile_s), "--max_rows", str(max_rows))


def put(directory: Path, seed: int) -> None:
    made = directory / "model.tmp"
    made.write_bytes(models.mlp((3, 4, 1), seed=seed))
    made.replace(directory / "model.onnx")


def test_every_way_in_gets_whole_answers_while_models_are_swapped_and_taken_away(
    tmp_path: Path, callers: Any, over_rest: Any
) -> None:
    directory = tmp_path / "m"
    directory.mkdir()
    put(directory, 0)
    with (
        ServerProcess("penstock_predictor", *options(tmp_path, profile_s=0.05, max_rows=8), grpc=True) as server,
        ExitStack() as stack,
    ):

        def repository(verb: str) -> None:
            assert httpx.post(f"{server.admin_url}/v2/repository/models/m/{verb}", timeout=60).status_code == 200

        v1, v2 = {"instances": [X]}, {"inputs": [TENSOR]}
        asks = {
            "v2": stack.enter_context(over_rest(server, "/v2/models/m/infer", v2)),
            "v1": stack.enter_context(over_rest(server, "/v1/models/m:predict", v1)),
            "grpc": stack.enter_context(over_grpc(server)),
            "grpc stream": stack.enter_context(over_a_grpc_stream(server)),
            "websocket": stack.enter_context(over_websocket(server)),
        }
        expected: dict[str, float] = {}
        for seed in range(3):
            put(directory, seed)
            repository("load")
            label, value = asks["v2"]()
            expected[label] = value
        assert len(set(expected.values())) == 3
        labels = list(expected)
        with callers(asks, expected | {GONE: 0.0}) as asking:
            for seed in (0, 1, 2, 1):
                put(directory, seed)
                repository("load")
                asking.wait_for(labels[seed])
            for seed in (0, 2):
                repository("unload")
                asking.wait_for(GONE)
                put(directory, seed)
                repository("load")
                asking.wait_for(labels[seed])
        assert asking.wrong == []
        assert {way for way, _ in asking.counts} == set(asks)


def test_what_was_taken_before_a_model_is_unloaded_is_answered(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.onnx").write_bytes(models.mlp((3, 3000, 3000, 1)))
    # A second or two of work: long enough to be seen under way.
    rows = 2000
    data = np.ones((rows, 3), np.float32).tobytes()
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 3], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    given_options = options(tmp_path, profile_s=0.1, max_rows=16)
    with ServerProcess("penstock_predictor", *given_options) as server, RawConnection(server.port, timeout_s=100) as connection:
        given = {"Inference-Header-Content-Length": str(len(head))}
        connection.send(raw_request("POST", "/v2/models/m/infer", head + data, given))
        until(lambda: running_bytes(httpx.get(f"{server.url}/metrics").text) > 0)
        assert httpx.post(f"{server.admin_url}/v2/repository/models/m/unload", timeout=60).status_code == 200
        assert httpx.get(f"{server.url}/v2/models/m").status_code == 404
        answer = connection.answer()
        assert (answer.status, len(answer.body) > rows) == (200, True)

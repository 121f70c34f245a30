"""Triton's gRPC client against a transformer at argv[1]: it speaks features, and answers the same calls as a predictor."""

import queue
import sys
from importlib import import_module
from typing import Any

import numpy as np

triton: Any = import_module("tritonclient.grpc")
Refused: Any = import_module("tritonclient.utils").InferenceServerException


def features(*distances: float) -> list[Any]:
    made = []
    for name, array, datatype in (
        ("distance", np.array(distances, np.float32), "FP32"),
        ("seats", np.full(len(distances), 150, np.int64), "INT64"),
    ):
        made.append(triton.InferInput(name, list(array.shape), datatype))
        made[-1].set_data_from_numpy(array)
    return made


def refusal(client: Any, *arguments: Any) -> Any:
    try:
        client.infer(*arguments)
    except Refused as error:
        return error
    raise AssertionError("it was not refused")


def check_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flights")
    assert client.get_server_metadata().name == "penstock"
    assert {tensor.name for tensor in client.get_model_metadata("flights").inputs} == {"distance", "seats"}
    assert {tensor.name for tensor in client.get_model_config("flights").config.input} == {"distance", "seats"}


def check_infer(client: Any) -> float:
    wanted = [triton.InferRequestedOutput("y")]
    answer = client.infer("flights", features(10, 20), "7", request_id="q", outputs=wanted)
    assert (answer.get_response().id, answer.as_numpy("y").shape) == ("q", (2, 1))
    squeezed = client.infer("flights", features(10, 20), compression_algorithm="gzip")
    assert squeezed.as_numpy("y").tolist() == answer.as_numpy("y").tolist()
    error = refusal(client, "flights", features(10)[1:])
    assert error.status() == "StatusCode.INVALID_ARGUMENT"
    assert "distance" in error.message()
    assert refusal(client, "flights", features(10), "1").status() == "StatusCode.NOT_FOUND"
    (found,) = client.get_inference_statistics("flights").model_stats
    assert found.inference_stats.success.count >= 2
    assert found.inference_stats.fail.count >= 1
    return float(answer.as_numpy("y")[0, 0])


def check_stream(client: Any, expected: float) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(20):
        client.async_stream_infer("nobody" if number == 7 else "flights", features(10), request_id=str(number))
    for number in range(20):
        result, error = answers.get(timeout=30)
        if number == 7:
            assert "no model 'nobody'" in error.message()
        else:
            assert error is None
            assert (result.get_response().id, float(result.as_numpy("y")[0, 0])) == (str(number), expected)
    client.stop_stream()


with triton.InferenceServerClient(sys.argv[1]) as client:
    check_metadata(client)
    check_stream(client, check_infer(client))

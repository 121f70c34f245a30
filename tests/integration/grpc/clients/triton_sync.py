"""Triton's gRPC client, as its documentation uses it, against a predictor at argv[1]: metadata, raw tensors, errors, streams.

Run in a process of its own: Triton's and KServe's modules cannot be imported into one.
"""

import queue
import sys
from importlib import import_module
from typing import Any

import numpy as np

triton: Any = import_module("tritonclient.grpc")
Refused: Any = import_module("tritonclient.utils").InferenceServerException


def tensor(name: str, array: Any, datatype: str) -> Any:
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def refusal(call: Any, *arguments: Any, **options: Any) -> Any:
    try:
        call(*arguments, **options)
    except Refused as error:
        return error
    raise AssertionError("it was not refused")


def check_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("several")
    server = client.get_server_metadata(as_json=True)
    assert server["name"] == "penstock"
    assert "model_repository" in server["extensions"]
    model = client.get_model_metadata("several")
    assert [(item.name, item.datatype, list(item.shape)) for item in model.inputs] == [
        ("a", "FP32", [-1, 2]),
        ("b", "INT64", [-1]),
    ]
    error = refusal(client.is_model_ready, "nobody")
    assert error.status() == "StatusCode.NOT_FOUND", error


def check_infer(client: Any) -> None:
    inputs = [tensor("a", np.array([[1, 2], [3, 4]], np.float32), "FP32"), tensor("b", np.array([1, 3]), "INT64")]
    wanted = [triton.InferRequestedOutput(name) for name in ("big", "sum")]
    answer = client.infer("several", inputs, request_id="q-1", outputs=wanted, headers={"x-request-id": "r-1"})
    message = answer.get_response()
    assert (message.id, message.model_name, [output.name for output in message.outputs]) == ("q-1", "several", ["big", "sum"])
    assert answer.as_numpy("sum").tolist() == [[2, 3], [6, 7]]
    assert answer.as_numpy("big").tolist() == [False, True]
    compressed = client.infer("several", inputs, compression_algorithm="gzip", headers={"accept-encoding": "gzip"})
    assert compressed.as_numpy("sum").tolist() == [[2, 3], [6, 7]]
    words = np.array([["yes"], ["ü"]], np.object_)
    assert client.infer("labels", [tensor("word", words, "BYTES")]).as_numpy("index").tolist() == [[3], [-1]]
    halves = np.array([[0.5, 1, 2]], np.float16)
    assert client.infer("half", [tensor("x", halves, "FP16")]).as_numpy("y").tolist() == [[1, 2, 4]]
    later: queue.Queue[Any] = queue.Queue()
    client.async_infer("several", inputs, lambda result, error: later.put((result, error)))
    result, error = later.get(timeout=30)
    assert error is None
    assert result.as_numpy("sum").tolist() == [[2, 3], [6, 7]]
    error = refusal(client.infer, "several", inputs[:1])
    assert error.status() == "StatusCode.INVALID_ARGUMENT", error
    assert "inputs: missing b" in error.message()


def check_configuration_and_statistics(client: Any) -> None:
    config = client.get_model_config("several", as_json=True)["config"]
    assert (config["name"], config["backend"]) == ("several", "onnxruntime")
    assert [(tensor["name"], tensor["data_type"]) for tensor in config["input"]] == [("a", "TYPE_FP32"), ("b", "TYPE_INT64")]
    (found,) = client.get_inference_statistics("several").model_stats
    assert found.inference_stats.success.count >= 3
    assert found.inference_stats.fail.count >= 1
    assert {"labels", "half"} <= {model.name for model in client.get_inference_statistics().model_stats}


def check_stream(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(20):
        model = "nobody" if number == 7 else "negated"
        inputs = [tensor("x", np.array([[bool(number % 2), True]]), "BOOL")]
        client.async_stream_infer(model, inputs, request_id=str(number), enable_empty_final_response=number == 3)
    for number in range(20):
        result, error = answers.get(timeout=30)
        if number == 7:
            assert result is None
            assert "no model 'nobody'" in error.message()
            continue
        assert error is None
        message = result.get_response()
        assert message.id == str(number)
        assert ("triton_final_response" in message.parameters) is (number == 3)
        assert result.as_numpy("y").tolist() == [[not number % 2, False]]
    client.stop_stream()


def check_repository(client: Any) -> None:
    listed = {model.name: model.state for model in client.get_model_repository_index().models}
    assert listed["several"] == "READY"
    client.unload_model("turned")
    assert refusal(client.is_model_ready, "turned").status() == "StatusCode.NOT_FOUND"
    client.load_model("turned")
    assert client.is_model_ready("turned")
    assert refusal(client.load_model, "nobody").status() == "StatusCode.NOT_FOUND"
    assert refusal(client.load_model, "turned", config="{}").status() == "StatusCode.INVALID_ARGUMENT"


with triton.InferenceServerClient(sys.argv[1]) as client:
    for check in (check_metadata, check_infer, check_configuration_and_statistics, check_stream, check_repository):
        check(client)

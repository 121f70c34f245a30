"""Triton's own HTTP clients, ordinary and asyncio, unmodified: everything that they can call, answered or clearly refused."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from penstock.testing.server import ServerProcess

http = pytest.importorskip("tritonclient.http", reason="tritonclient is missing: pip install 'tritonclient[http,grpc]'")
aio = pytest.importorskip("tritonclient.http.aio", reason="tritonclient is missing: pip install 'tritonclient[http,grpc]'")
from tritonclient.utils import InferenceServerException  # noqa: E402

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]], np.float32)


def address(server: ServerProcess) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.fixture
def client(predictor: ServerProcess) -> Iterator[Any]:
    with http.InferenceServerClient(address(predictor), concurrency=4) as made:
        yield made


@pytest.fixture
def features(transformer: ServerProcess) -> Iterator[Any]:
    with http.InferenceServerClient(address(transformer)) as made:
        yield made


def tensor(name: str, array: np.ndarray[Any, Any], datatype: str, *, binary: bool = True) -> Any:
    made = http.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def test_health_and_metadata(client: Any, features: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mlp")
    assert client.is_model_ready("mlp", "1")
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready("mlp", "7")
    assert client.get_server_metadata()["name"] == "penstock"
    assert client.get_model_metadata("mlp", "1")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert {"name": "carrier", "datatype": "BYTES", "shape": [-1]} in features.get_model_metadata("flights")["inputs"]
    with pytest.raises(InferenceServerException, match="nobody"):
        client.get_model_metadata("nobody")


def test_configuration(client: Any, features: Any) -> None:
    config = client.get_model_config("mlp", "1")
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}]
    assert config["max_batch_size"] > 1
    assert client.get_model_config("labels")["input"][0]["data_type"] == "TYPE_STRING"
    assert features.get_model_config("flights")["output"] == [{"name": "late", "data_type": "TYPE_FP32", "dims": [-1, 1]}]
    with pytest.raises(InferenceServerException, match="nobody"):
        client.get_model_config("nobody")


def test_statistics(client: Any, features: Any) -> None:
    before = client.get_inference_statistics("mlp", "1")["model_stats"][0]
    client.infer("mlp", [tensor("x", X, "FP32")])
    with pytest.raises(InferenceServerException):
        client.infer("mlp", [tensor("x", X[:, :2].copy(), "FP32")])
    after = client.get_inference_statistics("mlp", "1")["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 2
    assert after["execution_count"] - before["execution_count"] == 1
    counts = {
        name: after["inference_stats"][name]["count"] - before["inference_stats"][name]["count"] for name in ("success", "fail")
    }
    assert counts == {"success": 1, "fail": 1}
    assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]
    names = {entry["name"] for entry in client.get_inference_statistics()["model_stats"]}
    assert {"mlp", "labels"} <= names
    assert features.get_inference_statistics("flights")["model_stats"][0]["version"] == "1"
    with pytest.raises(InferenceServerException, match="nobody"):
        client.get_inference_statistics("nobody")


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("asked", [True, False])
def test_infer_in_every_mixture_of_forms(client: Any, sent: bool, asked: bool) -> None:
    inputs = [tensor("a", np.array([[1, 2], [3, 4]], np.float32), "FP32", binary=sent), tensor("b", np.array([1, 3]), "INT64")]
    outputs = [http.InferRequestedOutput("sum", binary_data=asked), http.InferRequestedOutput("b2", binary_data=not asked)]
    answer = client.infer(
        "several", inputs, "1", outputs, request_id="r-2", parameters={"any": "thing"}, priority=1, timeout=5_000_000
    )
    assert (answer.get_response()["id"], answer.get_response()["model_version"]) == ("r-2", "1")
    assert answer.as_numpy("sum").ravel().tolist() == [2, 3, 6, 7]
    assert answer.as_numpy("b2").tolist() == [2, 6]
    assert answer.get_output("big") is None


def test_strings_and_half_precision(client: Any) -> None:
    answer = client.infer("labels", [tensor("word", np.array([["yes"], ["ü"]], object), "BYTES")])
    assert answer.as_numpy("index").ravel().tolist() == [3, -1]
    assert [word.decode() for word in answer.as_numpy("same").ravel()] == ["yes", "ü"]
    metadata = client.get_model_metadata("half")["inputs"][0]
    x = np.ones([2 if size < 0 else size for size in metadata["shape"]], np.float16)
    answer = client.infer("half", [tensor(metadata["name"], x, "FP16")])
    assert answer.as_numpy(answer.get_response()["outputs"][0]["name"]).dtype == np.float16


def test_several_at_once(client: Any) -> None:
    waiting = [client.async_infer("row_sum", [tensor("x", X + at, "FP32")]) for at in range(8)]
    for at, one in enumerate(waiting):
        np.testing.assert_array_equal(one.get_result().as_numpy("y").ravel(), (X + at).sum(axis=1))


def test_raw_features_to_a_transformer(features: Any) -> None:
    found = []
    for first, second, asked in ((True, True, True), (False, True, False), (True, False, True), (False, False, False)):
        distance = tensor("distance", np.array([500.0], np.float32), "FP32", binary=first)
        inputs = [distance, tensor("carrier", np.array(["UA"], object), "BYTES", binary=second)]
        outputs = [http.InferRequestedOutput("late", binary_data=asked)]
        answer = features.infer("flights", inputs, "1", outputs, request_id="r-3")
        assert (answer.get_response()["id"], answer.as_numpy("late").shape) == ("r-3", (1, 1))
        found.append(answer.as_numpy("late").item())
    assert len(set(found)) == 1
    encoded = [tensor("x", np.zeros((1, 6), np.float32), "FP32")]
    assert features.infer("flights", encoded, parameters={"encoded": True}).as_numpy("late").tolist() == [[0.5]]


def test_a_compressed_body_is_refused_and_a_compressed_answer_is_not_sent(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="Content-Encoding"):
        client.infer("mlp", [tensor("x", X, "FP32")], request_compression_algorithm="gzip")
    assert client.infer("mlp", [tensor("x", X, "FP32")], response_compression_algorithm="gzip").as_numpy("y").shape == (2, 2)


def test_shared_memory_in_a_request_is_refused(client: Any) -> None:
    shared = http.InferInput("x", [1, 3], "FP32")
    shared.set_shared_memory("region", 12)
    with pytest.raises(InferenceServerException, match="shared memory is not offered"):
        client.infer("mlp", [shared])
    output = http.InferRequestedOutput("y")
    output.set_shared_memory("region", 8)
    with pytest.raises(InferenceServerException, match="shared memory is not offered"):
        client.infer("mlp", [tensor("x", X, "FP32")], outputs=[output])


def test_what_is_not_offered_says_so(client: Any) -> None:
    for call in (
        client.get_trace_settings,
        client.update_trace_settings,
        client.get_log_settings,
        lambda: client.update_log_settings({}),
        client.get_system_shared_memory_status,
        client.unregister_system_shared_memory,
        lambda: client.register_system_shared_memory("a", "b", 8),
        client.get_cuda_shared_memory_status,
        client.unregister_cuda_shared_memory,
    ):
        with pytest.raises(InferenceServerException, match="nothing is at /v2/") as refused:
            call()
        assert refused.value.status() == "404"


def test_asyncio(predictor: ServerProcess) -> None:
    async def main() -> None:
        async with aio.InferenceServerClient(address(predictor)) as client:
            assert await client.is_server_live()
            assert await client.is_model_ready("mlp")
            assert (await client.get_model_config("mlp"))["name"] == "mlp"
            answers = await asyncio.gather(*(client.infer("row_sum", [tensor("x", X + at, "FP32")]) for at in range(8)))
            for at, answer in enumerate(answers):
                np.testing.assert_array_equal(answer.as_numpy("y").ravel(), (X + at).sum(axis=1))
            with pytest.raises(InferenceServerException, match="nobody"):
                await client.infer("nobody", [tensor("x", X, "FP32")])

    asyncio.run(main())

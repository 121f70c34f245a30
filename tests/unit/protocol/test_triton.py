"""Triton's configuration and statistics of a model."""

from penstock.dataplane import ModelMetadata, TensorMetadata
from penstock.errors import ErrorKind
from penstock.metrics import Metrics
from penstock.protocol.triton import DEFAULT_MAX_ROWS, model_config, model_statistics

X, Y = TensorMetadata("x", "FP32", (-1, 3)), TensorMetadata("y", "BYTES", (-1, 1))


def metadata(*inputs: TensorMetadata, **properties: object) -> ModelMetadata:
    return ModelMetadata("m", ("1",), "onnx", inputs, (Y,), properties=properties)


def test_a_batched_model_tells_shapes_of_a_row() -> None:
    config = model_config(metadata(X, batching={"sharing": "free", "max_rows": 64}))
    assert (config["max_batch_size"], config["dynamic_batching"]) == (64, {})
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}]
    assert config["output"] == [{"name": "y", "data_type": "TYPE_STRING", "dims": [1]}]
    assert model_config(metadata(X))["max_batch_size"] == DEFAULT_MAX_ROWS


def test_other_models_tell_whole_shapes() -> None:
    for found in (metadata(X, TensorMetadata("n", "INT64", (-1,))), metadata(X, batching={"sharing": "none"})):
        config = model_config(found)
        assert (config["max_batch_size"], config["input"][0]["dims"]) == (0, [-1, 3])
        assert "dynamic_batching" not in config
    assert model_config(metadata(TensorMetadata("x", "INT8", (1, 3))))["input"][0]["dims"] == [1, 3]


def test_statistics_add_up_bundles_and_workers_of_one_model() -> None:
    snapshots = []
    for _ in range(2):
        metrics = Metrics()
        for model, bundle in (("m", "m@1"), ("m", "m@2"), ("other", "other@1")):
            counters = metrics.model(model, bundle)
            counters.observe_request(0.5, 1, 1)
            counters.observe_request(0.25, 1, 1)
            counters.observe_error(ErrorKind.INVALID_INPUT)
            counters.observe_batch(8, 1, [0.125])
        snapshots += metrics.snapshot()
    found = model_statistics(metadata(X), snapshots)
    stats = found["inference_stats"]
    assert (found["name"], found["version"], found["inference_count"], found["execution_count"]) == ("m", "1", 32, 4)
    assert stats["success"] == {"count": 4, "ns": 3_000_000_000}
    assert stats["fail"] == {"count": 4, "ns": 0}
    assert stats["queue"] == {"count": 4, "ns": 500_000_000}
    assert stats["compute_infer"] == {"count": 4, "ns": 2_500_000_000}
    assert stats["compute_input"]["count"] == stats["compute_output"]["count"] == 4


def test_a_model_that_nobody_asked_has_statistics() -> None:
    found = model_statistics(metadata(X), [])
    assert (found["inference_count"], found["inference_stats"]["success"]["count"]) == (0, 0)

"""Programs with a gRPC port: one predictor over a repository of models, one transformer before a predictor, one echo server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.dataplane import TensorMetadata
from penstock.testing import models
from penstock.testing.bundles import write_bundle
from penstock.testing.server import ServerProcess

KINDS = {
    "several": models.several(),
    "labels": models.labels(),
    "half": models.half(),
    "negated": models.negated(),
    "row_sum": models.row_sum(),
    "mlp": models.mlp((3, 8, 2)),
    "turned": models.turned(),
}
FEATURES = """
formatVersion: 1
features:
  - {name: distance, from: request, type: float32, missing: reject, encode: passthrough}
  - {name: seats, from: request, type: int64, missing: {default: 100}, encode: {cast: {to: float32}}}
tensors: {x: [distance, seats]}
"""
BODY_BYTES = 200_000


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    directory = tmp_path_factory.mktemp("repository")
    for name, model in KINDS.items():
        (directory / name).mkdir()
        (directory / name / "model.onnx").write_bytes(model)
    options = ("--model_name", "m", "--model_dir", str(directory), "--profile_s", "0", "--drain_delay_s", "0", "--repository_api")
    with ServerProcess("penstock_predictor", *options, grpc=True) as server:
        yield server


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle") / "1"
    inputs, outputs = (TensorMetadata("x", "FP32", (-1, 2)),), (TensorMetadata("y", "FP32", (-1, 1)),)
    write_bundle(directory, models.mlp((2, 4, 1), seed=1), FEATURES, inputs=inputs, outputs=outputs)
    return directory


@pytest.fixture(scope="session")
def transformer(bundle: Path) -> Iterator[ServerProcess]:
    common = ("--model_name", "flights", "--drain_delay_s", "0")
    with ServerProcess("penstock_predictor", *common, "--model_dir", str(bundle), "--profile_s", "0") as behind:
        host = f"127.0.0.1:{behind.port}"
        with ServerProcess("penstock_transformer", *common, "--predictor_host", host, grpc=True) as server:
            yield server


@pytest.fixture(scope="session")
def echo() -> Iterator[ServerProcess]:
    options = ("--body_bytes", str(BODY_BYTES), "--drain_delay_s", "0", "--stall_timeout_s", "2")
    with ServerProcess("penstock.testing.echo_server", *options, grpc=True) as server:
        yield server

"""A predictor and an all-in-one transformer, once for all judges, and what the models must answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.testing import models
from penstock.testing.flights import serve_flights
from penstock.testing.server import ServerProcess

MODELS = {
    "mlp": models.mlp((3, 8, 2)),
    "several": models.several(),
    "labels": models.labels(),
    "half": models.half(),
    "row_sum": models.row_sum(),
}


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository: Path = tmp_path_factory.mktemp("repository")
    for name, model in MODELS.items():
        (repository / name).mkdir()
        (repository / name / "model.onnx").write_bytes(model)
    arguments = ("--model_name", "m", "--model_dir", str(repository), "--drain_delay_s", "0", "--profile_s", "0.2")
    with ServerProcess("penstock_predictor", *arguments) as server:
        yield server


@pytest.fixture(scope="session")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve_flights(tmp_path_factory.mktemp("flights")) as server:
        yield server

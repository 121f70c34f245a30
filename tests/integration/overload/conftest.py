"""A predictor with a slow model and a fast one, each with a small queue."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest

from penstock.testing.models import mlp
from penstock.testing.raw_http import RawConnection, raw_request
from penstock.testing.server import ServerProcess

QUEUE = 64
SLOW, FAST = "slow", "fast"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    for name, sizes in ((SLOW, (32, 2048, 2048, 1)), (FAST, (32, 16, 1))):
        (directory / name).mkdir()
        (directory / name / "model.onnx").write_bytes(mlp(sizes))
    return directory


@pytest.fixture(scope="session")
def predictor(models: Path) -> Iterator[ServerProcess]:
    arguments = ["--model_name", "all", "--model_dir", str(models), "--drain_delay_s", "0", "--max_queue_items", str(QUEUE)]
    with ServerProcess("penstock_predictor", *arguments, "--profile_s", "0.3", "--max_rows", "16", "--threads", "1") as server:
        yield server


@pytest.fixture(scope="session")
def infer() -> Callable[..., bytes]:
    """A request as bytes: `infer("slow", rows=1, Penstock_Priority="1")`."""

    def made(model: str, rows: int = 1, **headers: str) -> bytes:
        values = np.random.default_rng(1).normal(size=(rows, 32)).astype(np.float32)
        tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 32], "data": values.ravel().tolist()}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return raw_request("POST", f"/v2/models/{model}/infer", orjson.dumps({"inputs": [tensor]}), named)

    return made


@pytest.fixture(scope="session")
def counted(predictor: ServerProcess) -> Callable[[str, str], float]:
    """A metric of a model, over all of its bundles and whatever else it is labelled with: `counted(name, model)`."""

    def read(name: str, model: str) -> float:
        with RawConnection(predictor.port) as connection:
            text = connection.send(raw_request("GET", "/metrics")).answer().body.decode()
        lines = [line for line in text.splitlines() if line.startswith(f"{name}{{") and f'model="{model}"' in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    return read

"""The programs that bad input is sent to: the all-in-one server and the predictor, each started once, each watched for faults."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.testing import models
from penstock.testing.flights import serve_flights
from penstock.testing.server import ServerProcess

BODY_BYTES = 2_000_000


@pytest.fixture(scope="session")
def plain_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models without features, which both programs serve."""
    directory = tmp_path_factory.mktemp("models")
    for name, model in (("net", models.mlp((3, 4, 1))), ("several", models.several()), ("words", models.labels())):
        (directory / name).mkdir()
        (directory / name / "model.onnx").write_bytes(model)
    return directory


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, plain_models: Path) -> Iterator[ServerProcess]:
    plain = [str(folder) for folder in sorted(plain_models.iterdir())]
    with serve_flights(tmp_path_factory.mktemp("serve"), *plain, "--body_bytes", str(BODY_BYTES)) as server:
        yield server
        assert_no_faults(server)


@pytest.fixture(scope="session")
def predictor(plain_models: Path) -> Iterator[ServerProcess]:
    options = ("--model_dir", str(plain_models), "--model_name", "net", "--profile_s", "0", "--drain_delay_s", "0")
    with ServerProcess("penstock_predictor", *options, "--body_bytes", str(BODY_BYTES)) as server:
        yield server
        assert_no_faults(server)


def assert_no_faults(server: ServerProcess) -> None:
    """Nothing that was sent made the program log an exception."""
    faults = [line for line in server.lines if "Traceback" in line or '"exception"' in line]
    assert not faults, faults[0][-3000:]


@pytest.fixture(scope="session")
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session", params=["predictor", "server"])
def tensors(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of each program in turn: the predictor, and the all-in-one server, whose transformer takes the same tensors."""
    with httpx.Client(base_url=request.getfixturevalue(request.param).url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def refused() -> Callable[..., dict[str, Any]]:
    """Checks that an answer refuses: its status, its form by path, the field and words of its message, and nothing internal."""

    def check(answer: httpx.Response, status: int, *words: str, field: str | None = None) -> dict[str, Any]:
        text = answer.text
        assert answer.status_code == status, text[:500]
        assert "Traceback" not in text
        document: dict[str, Any] = json.loads(text)
        if answer.request.url.path.startswith(("/v1", "/v2")):
            message = document["error"]
            assert field is None or message.startswith(f"{field}: "), message
        else:
            assert answer.headers["content-type"] == "application/problem+json"
            message = document["detail"]
            assert document.get("field") == field, document
        for word in words:
            assert word in message, message
        return document

    return check


@pytest.fixture(scope="session")
def program() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs one of Penstock's programs to its end."""

    def run(module: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", module, *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=90, check=False, env=os.environ | {"COLUMNS": "300"}
        )

    return run

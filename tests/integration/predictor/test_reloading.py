"""Hot reload over the wire: versions are swapped under constant load, and every answer is right for the bundle that it names."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from penstock.bundle.plain import plain_manifest
from penstock.onnx import load
from penstock.testing import models
from penstock.testing.server import ServerProcess

X = [0.5, -1.0, 2.0]
REQUEST = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": X}]}


def program(directory: Path, *arguments: str) -> ServerProcess:
    quick = ("--drain_delay_s", "0", "--profile_s", "0.05", "--max_rows", "8")
    return ServerProcess("penstock_predictor", "--model_name", "m", "--model_dir", str(directory), *quick, *arguments)


class Versions:
    """Models of one signature that answer differently; `expected` has each one's answer by its bundle's label."""

    def __init__(self, directory: Path, count: int, name: str = "m") -> None:
        self.files = [directory / f"{number}.onnx" for number in range(count)]
        self.expected: dict[str, float] = {}
        self.labels: list[str] = []
        for number, file in enumerate(self.files):
            (directory / f"at-{number}").mkdir()
            file.write_bytes(models.mlp((3, 4, 1), seed=number))
            place = directory / f"at-{number}" / "model.onnx"
            shutil.copy(file, place)
            session = load(place)
            manifest, text = plain_manifest(name, place, session.inputs, session.outputs)
            label = f"{manifest.name}@sha256:{hashlib.sha256(text).hexdigest()}"
            self.labels.append(label)
            self.expected[label] = float(session.run({"x": np.float32([X])})[0].ravel()[0])

    def put(self, number: int, directory: Path) -> None:
        """In one step, as who replaces a served file should."""
        directory.mkdir(exist_ok=True)
        shutil.copy(self.files[number], directory / "model.tmp")
        os.replace(directory / "model.tmp", directory / "model.onnx")


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    (tmp_path / "versions").mkdir()
    return Versions(tmp_path / "versions", 12)


@pytest.fixture
def asking(callers: Any, over_rest: Any) -> Callable[..., AbstractContextManager[Any]]:
    """`asking(server, versions, clients=6)`: clients that ask without a pause, each on its connection."""

    @contextmanager
    def asked(server: ServerProcess, versions: Versions, clients: int = 6) -> Iterator[Any]:
        with ExitStack() as stack:
            ways = {f"client {n}": stack.enter_context(over_rest(server, "/v2/models/m/infer", REQUEST)) for n in range(clients)}
            yield stack.enter_context(callers(ways, versions.expected))

    return asked


def load_answer(url: str, model: str = "m") -> httpx.Response:
    return httpx.post(f"{url}/v2/repository/models/{model}/load", timeout=60)


def test_swaps_under_load_lose_and_mix_no_request(tmp_path: Path, versions: Versions, asking: Any) -> None:
    directory = tmp_path / "served"
    versions.put(0, directory)
    with program(directory) as server, asking(server, versions) as callers:
        for number in [*range(1, 12), *range(12)]:
            versions.put(number, directory)
            assert load_answer(server.admin_url).status_code == 200
            callers.wait_for(versions.labels[number])
        # Files that are no model change nothing, and the answer names the file.
        (directory / "model.onnx").write_bytes(b"no model")
        answer = load_answer(server.admin_url)
        assert answer.status_code == 400
        assert "model.onnx: not an ONNX model" in answer.json()["error"]
        callers.wait_for(versions.labels[11])
        (entry,) = httpx.post(f"{server.admin_url}/v2/repository/index").json()
        assert entry["state"] == "READY"
        assert "not an ONNX model" in entry["reason"]
    assert callers.wrong == []
    assert {label for _, label in callers.counts} == set(versions.labels)


def test_a_watched_directory_is_followed_under_load(tmp_path: Path, versions: Versions, asking: Any) -> None:
    directory = tmp_path / "served"
    versions.put(0, directory)
    with (
        program(directory, "--repository_poll_s", "0.05") as server,
        asking(server, versions, clients=2) as callers,
    ):
        for number in (1, 2, 3):
            versions.put(number, directory)
            callers.wait_for(versions.labels[number])
        # A careless copy, seen half-way: written over in place and in pieces. What is half there never answers.
        whole = versions.files[4].read_bytes()
        with (directory / "model.onnx").open("wb") as file:
            for start in range(0, len(whole), 40):
                file.write(whole[start : start + 40])
                file.flush()
                callers.wait_for(versions.labels[3], 1)
        callers.wait_for(versions.labels[4])
        (directory / "model.onnx").unlink()
        callers.wait_for(versions.labels[4], 100)
    assert callers.wrong == []


def test_every_worker_follows_a_load_on_the_serving_port(tmp_path: Path, versions: Versions, asking: Any) -> None:
    directory = tmp_path / "served"
    versions.put(0, directory)
    arguments = ("--workers", "2", "--repository_api", "true")
    with program(directory, *arguments) as server, asking(server, versions) as callers:
        if not any(event.get("workers") == 2 for event in server.events):
            pytest.skip("needs two CPUs: one worker runs here")
        for number in (1, 2, 3):
            versions.put(number, directory)
            assert load_answer(server.url).json() == {"name": "m", "load": True}
            # What is asked after the answer is answered by the new bundle, whichever worker takes the connection.
            for _ in range(8):
                answer = httpx.post(f"{server.url}/v2/models/m/infer", json=REQUEST)
                assert answer.headers["penstock-bundle"] == versions.labels[number]
        assert [entry["state"] for entry in httpx.post(f"{server.url}/v2/repository/index").json()] == ["READY"]
        (directory / "model.onnx").write_bytes(b"no model")
        refused = load_answer(server.url)
        assert refused.status_code == 400
        assert "model.onnx: not an ONNX model" in refused.json()["error"]
        callers.wait_for(versions.labels[3])
    assert callers.wrong == []


def test_the_serving_port_has_no_repository_unless_opened(tmp_path: Path, versions: Versions) -> None:
    versions.put(0, tmp_path / "served")
    with program(tmp_path / "served") as server:
        for path in ("index", "models/m/load", "models/m/unload"):
            assert httpx.post(f"{server.url}/v2/repository/{path}").status_code == 404
        assert httpx.post(f"{server.admin_url}/v2/repository/index", json={"ready": True}).json()[0]["name"] == "m"
        for body, field in (
            ({"ready": 1}, "ready"),
            ({"parameters": 3}, "parameters"),
            ({"parameters": {"config": "{}"}}, "config"),
        ):
            path = "index" if field == "ready" else "models/m/load"
            answer = httpx.post(f"{server.admin_url}/v2/repository/{path}", json=body)
            assert answer.status_code == 400
            assert field in answer.json()["error"]
        unloaded = httpx.post(
            f"{server.admin_url}/v2/repository/models/m/unload", json={"parameters": {"unload_dependents": False}}
        )
        assert unloaded.json() == {"name": "m", "unload": True}
        assert httpx.post(f"{server.admin_url}/v2/repository/models/m/unload").status_code == 404
        (entry,) = httpx.post(f"{server.admin_url}/v2/repository/index").json()
        assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", "not loaded")

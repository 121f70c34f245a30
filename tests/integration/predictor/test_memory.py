"""The memory contract over the wire: random shapes, giants and reloads leave it where it was. The long form is bench/soak.py."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest

from penstock.testing import models
from penstock.testing.raw_http import RawConnection, raw_request
from penstock.testing.server import ServerProcess

SOAK = Path(__file__).parents[3] / "bench" / "soak.py"


def program(directory: Path, *arguments: str) -> ServerProcess:
    quick = ("--drain_delay_s", "0", "--profile_s", "0.2", "--max_rows", "16")
    return ServerProcess("penstock_predictor", "--model_name", "m", "--model_dir", str(directory), *quick, *arguments)


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("penstock_soak", SOAK)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


def test_the_soak_ends_where_it_settled(soak: Any) -> None:
    run = soak.soak(20_000)
    assert run.failures == []
    assert run.answered >= 20_000
    assert run.course.end(20_000) <= soak.MARGIN * run.course.settled(20_000), run.course.points


def test_a_giant_request_gives_its_memory_back(tmp_path: Path, soak: Any) -> None:
    """A request whose runs take some 100 MB: resident memory is back where it was right after it."""
    with program(soak.repository(tmp_path)) as server, RawConnection(server.port, timeout_s=60) as connection:
        rng = np.random.default_rng(0)
        for _ in range(50):
            assert connection.send(soak.sequence_request(rng, 4, 100)).answer().status == 200
        before = soak.resident(server.pid)
        assert connection.send(soak.sequence_request(rng, 64, 8192)).answer().status == 200
        for _ in range(5):
            assert connection.send(soak.sequence_request(rng, 4, 100)).answer().status == 200
        assert peak(server.pid) - before > 80 * 2**20
        assert soak.resident(server.pid) - before < 15 * 2**20


def test_reloads_leave_nothing_behind(tmp_path: Path, soak: Any) -> None:
    """A model of 20 MB, loaded a dozen times: the old ones' memory goes."""
    for seed in (1, 2):
        (tmp_path / f"{seed}.onnx").write_bytes(models.mlp((3, 2200, 2200, 1), seed=seed))
    directory = tmp_path / "served"
    directory.mkdir()
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}).encode()
    request = raw_request("POST", "/v2/models/m/infer", body)

    def put(seed: int) -> None:
        shutil.copy(tmp_path / f"{seed}.onnx", directory / "model.tmp")
        os.replace(directory / "model.tmp", directory / "model.onnx")

    put(1)
    with program(directory) as server, RawConnection(server.port) as connection:
        sizes = []
        for number in range(12):
            put(1 + number % 2)
            assert httpx.post(f"{server.admin_url}/v2/repository/models/m/load", timeout=60).status_code == 200
            assert connection.send(request).answer().status == 200
            sizes.append(soak.resident(server.pid))
        # The version before may still be on its way out when its successor first answers: the least counts.
        assert min(sizes[8:]) < max(sizes[2:5]) + 15 * 2**20, [size >> 20 for size in sizes]


def test_where_bytes_are_is_in_the_metrics(tmp_path: Path, soak: Any) -> None:
    with program(soak.repository(tmp_path)) as server:
        text = httpx.get(f"{server.url}/metrics").text
        for name in ("penstock_queued_requests", "penstock_queued_bytes", "penstock_running_requests", "penstock_running_bytes"):
            assert f'{name}{{bundle="mlp@sha256:' in text
        for name in ("penstock_run_cost_bytes", "penstock_large_body_bytes", "process_resident_memory_bytes"):
            assert name in text


def test_the_heap_is_left_alone_where_the_environment_says_how() -> None:
    command = [sys.executable, "-c", "from penstock_predictor.heap import steady_heap; print(steady_heap())"]
    for environment, said in (({"MALLOC_TRIM_THRESHOLD_": "1000000"}, "False"), ({}, "True")):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
        done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.strip() == said


def peak(pid: int) -> int:
    """The most that was ever resident, in bytes."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024

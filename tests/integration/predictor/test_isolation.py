"""Several models on one predictor: what one is busy with does not hold up the others."""

import json
import select
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from penstock.testing import models
from penstock.testing.raw_http import RawConnection, raw_request
from penstock.testing.server import ServerProcess

FAST = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}).encode()
# Of a slow request. One machine runs the fewest in the time of some small requests, another one is long busy with them.
SLOW_ROWS = (1_500, 6_000, 24_000, 96_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory: Path = tmp_path_factory.mktemp("repository")
    for name, model in {"slow": models.mlp((3, 2000, 2000, 1)), "fast": models.doubled()}.items():
        (directory / name).mkdir()
        (directory / name / "model.onnx").write_bytes(model)
    options = ("--model_name", "m", "--model_dir", str(directory), "--drain_delay_s", "0", "--profile_s", "0.1")
    with ServerProcess("penstock_predictor", *options, "--max_rows", "32", "--max_queue_items", "2") as running:
        yield running


def slow_request(rows: int) -> bytes:
    data = np.ones((rows, 3), np.float32).tobytes()
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 3], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return raw_request("POST", "/v2/models/slow/infer", head + data, {"Inference-Header-Content-Length": str(len(head))})


def answered(connection: RawConnection) -> bool:
    return bool(select.select([connection.sock], [], [], 0)[0])


def fast_are_answered_first(server: ServerProcess, rows: int) -> bool:
    with RawConnection(server.port, timeout_s=100) as slow, RawConnection(server.port) as fast:
        slow.send(slow_request(rows))
        for _ in range(30):
            assert fast.send(raw_request("POST", "/v2/models/fast/infer", FAST)).answer().status == 200
            # Nor does it hold up what a kubelet asks, which would end the pod for it.
            assert fast.send(raw_request("GET", "/v2/health/live")).answer().status == 200
        metrics = httpx.get(f"{server.url}/metrics").text.splitlines()
        first = not answered(slow)
        if first:
            running = next(line for line in metrics if line.startswith("penstock_running_bytes") and "slow" in line)
            assert float(running.split()[-1]) == rows * 12
        assert slow.answer().status == 200
    return first


def test_a_slow_model_starves_no_other(server: ServerProcess) -> None:
    # Were they to wait for the slow model, they would come after it whatever its rows.
    assert any(fast_are_answered_first(server, rows) for rows in SLOW_ROWS)


def test_a_full_queue_of_one_model_refuses_its_own_requests_alone(server: ServerProcess) -> None:
    busy = [RawConnection(server.port, timeout_s=100) for _ in range(5)]
    try:
        for connection in busy:
            connection.send(slow_request(64))
        with RawConnection(server.port) as fast:
            assert fast.send(raw_request("POST", "/v2/models/fast/infer", FAST)).answer().status == 200
        statuses = sorted(connection.answer().status for connection in busy)
        assert statuses[0] == 200
        assert statuses[-1] == 429
    finally:
        for connection in busy:
            connection.close()

"""The only pod of a version is killed under load: what it would have answered the other version of the route does."""

import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from penstock.dataplane import TensorMetadata
from penstock.onnx import load
from penstock.testing.bundles import write_bundle
from penstock.testing.models import mlp
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until

FEATURES = """
formatVersion: 1
features:
  - {name: a, from: request, type: float32, missing: reject, encode: passthrough}
  - {name: b, from: request, type: float32, missing: {default: 2}, encode: passthrough}
tensors: {x: [a, b]}
"""
OUTPUTS = (TensorMetadata("y", "FP32", (-1, 1)),)
CALLERS = 4
DEADLINE_S = 120.0


class Load:
    """Callers that never stop asking; `counts` of what they got, by the bundle that answered, or the status."""

    def __init__(self, ask: Callable[[httpx.Client, int, int], str]) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(ask, number), daemon=True) for number in range(CALLERS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def more(self, answers: int) -> None:
        """Wait for so many more answers."""
        wanted = self.counts.total() + answers
        until(lambda: self.counts.total() >= wanted, DEADLINE_S, f"{answers} more answers")

    def _run(self, ask: Callable[[httpx.Client, int, int], str], caller: int) -> None:
        with httpx.Client(timeout=60) as client:
            turn = 0
            while not self._over.is_set():
                got, turn = ask(client, caller, turn), turn + 1
                with self._lock:
                    self.counts[got] += 1


def test_no_request_fails(tmp_path: Path) -> None:
    x = np.array([[10.0, 2.0]], np.float32)
    inputs, digests, values = (TensorMetadata("x", "FP32", (-1, 2)),), {}, {}
    for version in ("1", "2"):
        model = mlp((2, 4, 1), seed=int(version))
        digest = write_bundle(tmp_path / version, model, FEATURES, version=version, inputs=inputs, outputs=OUTPUTS)
        digests[version], values[f"flights@{digest}"] = digest, float(load(model).run({"x": x})[0][0, 0])

    def predictor(version: str) -> ServerProcess:
        options = ("--model_name", "flights", "--model_dir", str(tmp_path / version), "--profile_s", "0")
        return ServerProcess("penstock_predictor", *options, "--drain_delay_s", "0")

    tensors = {
        "parameters": {"encoded": True},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": x[0].tolist()}],
    }

    def ask(client: httpx.Client, caller: int, turn: int) -> str:
        headers, passing = {"Penstock-Route-Key": f"{caller}-{turn}"}, caller % 2
        path, body = ("v2/models/flights/infer", tensors) if passing else ("models/flights/predict", {"rows": [{"a": 10.0}]})
        answer = client.post(f"{server.url}/{path}", json=body, headers=headers)
        if answer.status_code != 200:
            return f"{answer.status_code}: {answer.text[:200]}"
        found: Any = answer.json()
        label = answer.headers["Penstock-Bundle"]
        value = found["outputs"][0]["data"][0] if passing else found["predictions"][0]["value"]
        return label if value == pytest.approx(values[label], rel=1e-5) else f"{label} answered {value}"

    with predictor("1") as one, predictor("2") as two:
        route = tmp_path / "route.yaml"
        entries = [{"digest": digests[n], "predictor": pod.url, "weight": 50} for n, pod in (("1", one), ("2", two))]
        route.write_text(yaml.safe_dump({"formatVersion": 1, "revision": 1, "model": "flights", "bundles": entries}))
        options = ("--model_name", "flights", "--route_file", str(route), "--drain_delay_s", "0")
        with ServerProcess("penstock_transformer", *options) as server:
            with Load(ask) as load_of:
                until(lambda: set(values) <= set(load_of.counts), DEADLINE_S, "both answer")
                two.signal(signal.SIGKILL)
                two.wait()
                load_of.more(60)
                before = load_of.counts[f"flights@{digests['2']}"]
                load_of.more(60)
            assert load_of.counts[f"flights@{digests['2']}"] == before
            assert set(load_of.counts) == set(values), load_of.counts
            expect = {"Penstock-Expect-Bundle": digests["2"]}
            named = httpx.post(f"{server.url}/models/flights/predict", json={"rows": [{"a": 1}]}, headers=expect, timeout=60)
            assert named.status_code == 503
            metrics = httpx.get(f"{server.admin_url}/metrics", timeout=60).text
            assert 'penstock_transformer_moved_requests_total{model="flights"} 0.0' not in metrics

"""NVIDIA's perf_analyzer, unmodified: it reads metadata, configuration and statistics, and drives the server with load."""

import json
import os
import re
import subprocess
from typing import Any

import pytest

from penstock.testing.programs import Program, ProgramMissing, perf_analyzer
from penstock.testing.server import ServerProcess

# One short window after another, whatever they measure: what is judged here is that it understands every answer.
MEASURE = ("-p", "500", "-r", "3", "-s", "10000", "-v")


@pytest.fixture(scope="module")
def analyzer() -> Program:
    try:
        found = perf_analyzer()
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    started = run(found, "--version")
    if started.returncode:
        pytest.skip(f"perf_analyzer does not start: apt-get install libb64-0d ({started.stderr.strip()})")
    return found


def run(program: Program, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **program.environment}
    return subprocess.run([program.path, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False)


def measure(program: Program, server: ServerProcess, model: str, *arguments: str) -> Any:
    return run(program, "-m", model, "-i", "http", "-u", f"127.0.0.1:{server.port}", *MEASURE, *arguments)


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        ("mlp", ("--concurrency-range", "4")),
        ("mlp", ("-b", "8", "--input-tensor-format", "json", "--output-tensor-format", "json")),
        ("labels", ("-a", "--concurrency-range", "2")),
    ],
)
def test_load_on_the_predictor(analyzer: Program, predictor: ServerProcess, model: str, arguments: tuple[str, ...]) -> None:
    done = measure(analyzer, predictor, model, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    throughput = re.search(r"throughput: ([\d.e+]+) infer/sec", done.stdout)
    assert throughput, done.stdout
    assert float(throughput[1]) > 0
    counted = re.search(r"Inference count: (\d+)\s+Execution count: (\d+)\s+Successful request count: (\d+)", done.stdout)
    assert counted, done.stdout
    assert int(counted[1]) >= int(counted[2]) > 0


def test_load_on_a_transformer(analyzer: Program, transformer: ServerProcess, tmp_path: Any) -> None:
    rows = tmp_path / "rows.json"
    row = {"distance": 500.0, "carrier": "UA", "stops": 1, "leaves": 60.0, "tailnum": "N1", "flight_id": ""}
    step = {name: {"content": [value] * 2, "shape": [2]} for name, value in row.items()}
    rows.write_text(json.dumps({"data": [step]}))
    done = measure(analyzer, transformer, "flights", "--input-data", str(rows))
    assert done.returncode == 0, done.stdout + done.stderr


def test_shared_memory_is_refused_in_words(analyzer: Program, predictor: ServerProcess) -> None:
    done = measure(analyzer, predictor, "mlp", "--shared-memory", "system")
    assert done.returncode != 0
    assert "nothing is at /v2/systemsharedmemory/region" in done.stdout + done.stderr

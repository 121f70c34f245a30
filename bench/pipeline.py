"""The whole path of a prediction with stored features, beside what Feast's SDK costs for the same row.

    python bench/pipeline.py [--rounds 3] [--seconds 4] [--json]

    wrk --id--> transformer --one pipelined read--> Redis (20 numbers and a string a row, written by Feast)
                     |------encoded tensors-------> predictor (32-64-64-1 MLP)

Transformer and predictor are two processes on one core; Redis and wrk share the other. CPU a request is what the kernel counted
for both processes. Feast: the CPU of `get_online_features(...).to_dict()` alone, for the same values from the same Redis. By
hand: the encoder and the model run on a batch that is already in memory.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pipeline_feast import NUMERIC, PROJECT, SEGMENTS

HERE = Path(__file__).resolve().parent
MODEL = "scores"
ENTITIES = 20_000
SERVER_CPU, LOAD_CPU = "0", "1"
LOADS = ((64, 1), (1, 1), (16, 100))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    result = measure(given.rounds, given.seconds)
    print(json.dumps(result, indent=1) if given.json else "\n".join(table(result)))


def measure(rounds: int = 3, seconds: float = 4.0) -> dict[str, Any]:
    """Every load (connections, rows a request), and Feast and the hand-run batch beside them; medians over the rounds."""
    for program in ("wrk", "redis-server"):
        if shutil.which(program) is None:
            sys.exit(f"bench/pipeline.py needs {program} (Debian: apt-get install wrk redis-server)")
    samples: dict[tuple[int, int], list[dict[str, float]]] = {}
    feast: dict[str, list[float]] = {}
    by_hand: list[float] = []
    with tempfile.TemporaryDirectory() as folder, redis(Path(folder)) as redis_port:
        directory = Path(folder)
        bundle(directory / "bundle")
        feast_side(["fill", str(directory), str(redis_port), str(ENTITIES)])
        for _ in range(rounds):
            with servers(directory, redis_port) as (port, pids):
                for connections, rows in LOADS:
                    script = directory / f"{rows}.lua"
                    script.write_text(wrk_script(rows))
                    samples.setdefault((connections, rows), []).append(load(port, pids, script, connections, seconds))
            found = json.loads(feast_side(["measure", str(directory), str(seconds / 2)]))["cpu_us_a_row"]
            for rows_text, cost in found.items():
                feast.setdefault(rows_text, []).append(cost)
            by_hand.append(hand_run(directory / "bundle", 100, seconds / 4))
    lines = [{"connections": c, "rows": r} | medians(found) for (c, r), found in samples.items()]
    return {
        "bench": "pipeline",
        "model": "20 numbers and 1 string from Redis, 32-64-64-1 MLP",
        "rows": lines,
        "feast_cpu_us_a_row": {rows: round(statistics.median(costs), 1) for rows, costs in feast.items()},
        "by_hand_us_a_row_at_100": round(statistics.median(by_hand), 2),
        "ratios": ratios(lines, feast, by_hand),
    }


def medians(samples: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(sample[key] for sample in samples), 2) for key in samples[0]}


def ratios(lines: list[dict[str, Any]], feast: dict[str, list[float]], by_hand: list[float]) -> dict[str, float]:
    """What the project promises: Feast's CPU a row in times of ours, and our time a row in times of encoder and model by hand."""
    at = {(line["connections"], line["rows"]): line for line in lines}
    one, many = at[64, 1], at[16, 100]
    return {
        "Feast's CPU for a row, times both processes' for a request": round(statistics.median(feast["1"]) / one["cpu_us"], 2),
        "the same at 100 rows a request": round(statistics.median(feast["100"]) / (many["cpu_us"] / 100), 2),
        "100 rows: CPU a row, times encoder and model by hand": round(many["cpu_us"] / 100 / statistics.median(by_hand), 2),
        "100 rows: rows/s, part of encoder and model by hand": round(
            many["requests_per_s"] * 100 * statistics.median(by_hand) / 1e6, 3
        ),
    }


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| connections | rows a request | requests/s | CPU us a request | of which transformer | predictor | p50 ms | p99 ms |"
    yield "|---|---|---|---|---|---|---|---|"
    for line in result["rows"]:
        yield (
            f"| {line['connections']} | {line['rows']} | {line['requests_per_s']:,.0f} | {line['cpu_us']} |"
            f" {line['transformer_cpu_us']} | {line['predictor_cpu_us']} | {line['p50_ms']} | {line['p99_ms']} |"
        )
    yield ""
    yield f"Feast's get_online_features, CPU us a row: {result['feast_cpu_us_a_row']}"
    yield f"Encoder and model by hand, us a row at 100 rows: {result['by_hand_us_a_row_at_100']}"
    for name, value in result["ratios"].items():
        yield f"{name}: {value}"


def features() -> str:
    """The spec: 20 standardised numbers and a string of 12 categories, a tensor of 32 columns."""
    numbers = "\n".join(
        f"  - {{name: {name}, from: stats.{name}, type: float32, missing: {{default: 0.0}},"
        " encode: {standardise: {mean: 0.1, std: 1.1}}}"
        for name in NUMERIC
    )
    values = ", ".join(f"{name}: double" for name in NUMERIC)
    return f"""formatVersion: 1
record: {{set: stats, key: customer_id}}
sets:
  stats: {{view: stats, keys: {{customer_id: customer_id}}, maxAge: 400d}}
features:
{numbers}
  - {{name: segment, from: stats.segment, type: string, missing: {{default: other}},
     encode: {{oneHot: {{categories: [{", ".join(SEGMENTS)}], unseen: zeros}}}}}}
tensors: {{x: [{", ".join(NUMERIC)}, segment]}}
store: {{project: {PROJECT}, keySerialization: 3, views: {{stats: {{keys: {{customer_id: int64}}, values: {{{values}, segment:
string}}}}}}}}
"""


def bundle(directory: Path) -> None:
    """A bundle directory, made by the same parts that `penstock bundle build` uses."""
    from penstock.bundle.files import digest_bytes
    from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
    from penstock.bundle.manifest_text import write_manifest
    from penstock.dataplane import TensorMetadata
    from penstock.features.compiler import compile_encoder
    from penstock.features.reading import read_spec
    from penstock.testing.models import mlp

    text = features()
    files = {"features.yaml": text.encode(), "encoder.onnx": compile_encoder(read_spec(text)), "model.onnx": mlp()}
    signature = ModelSignature(
        "model.onnx", (TensorMetadata("x", "FP32", (-1, 32)),), (TensorMetadata("y", "FP32", (-1, 1)),), True
    )
    entries = {name: digest_bytes(content) for name, content in files.items()}
    files["bundle.yaml"] = write_manifest(Manifest(MODEL, "1", signature, PostprocessSpec("regression", "y"), entries))
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)


def wrk_script(rows: int) -> str:
    """Requests of `rows` ids each, drawn anew for every request out of those that the store holds."""
    return f"""local bodies, at = {{}}, 0
math.randomseed(5)
for i = 1, 2000 do
  local rows = {{}}
  for j = 1, {rows} do rows[j] = '{{"customer_id": ' .. math.random(0, {ENTITIES - 1}) .. '}}' end
  bodies[i] = wrk.format("POST", nil, {{["Content-Type"] = "application/json"}}, '{{"rows": [' .. table.concat(rows, ",") ..
  ']}}') end
request = function() at = at % 2000 + 1; return bodies[at] end
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def redis(directory: Path) -> Iterator[int]:
    """A Redis of its own, beside the load."""
    port = free_port()
    options = ["--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(directory), "--bind", "127.0.0.1"]
    process = subprocess.Popen(["taskset", "-c", LOAD_CPU, "redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def servers(directory: Path, redis_port: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Transformer and predictor on one core: the transformer's port, and both process ids."""
    predictor_port, port = free_port(), free_port()
    common = ["--model_name", MODEL, "--admin_port", "-1", "--host", "127.0.0.1", "--drain_delay_s", "0"]
    predictor = [
        "-m",
        "penstock_predictor",
        *common,
        "--model_dir",
        str(directory / "bundle"),
        "--http_port",
        str(predictor_port),
    ]
    transformer = [
        "-m", "penstock_transformer", *common, "--predictor_host", f"127.0.0.1:{predictor_port}", "--http_port", str(port),
        "--feature_store", f"redis://127.0.0.1:{redis_port}",
    ]  # fmt: skip
    log = directory / "servers.log"
    with log.open("ab") as output:
        processes = [
            subprocess.Popen(["taskset", "-c", SERVER_CPU, sys.executable, *command], stdout=output, stderr=output)
            for command in (transformer, predictor)
        ]
    try:
        wait_ready(port, processes, log)
        yield port, (processes[0].pid, processes[1].pid)
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(30)


def wait_ready(port: int, processes: "list[subprocess.Popen[bytes]]", log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and all(process.poll() is None for process in processes):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready") as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    sys.exit(f"the servers did not get ready:\n{log.read_text()[-2000:]}")


def load(port: int, pids: tuple[int, int], script: Path, connections: int, seconds: float) -> dict[str, float]:
    """One run of wrk after a short warm-up; fails on any answer that is not 200."""
    wrk(port, script, connections, 1)
    before = [cpu_s(pid) for pid in pids]
    requests, duration_us, p50_us, p99_us, bad, broken = wrk(port, script, connections, seconds)
    transformer, predictor = (cpu_s(pid) - was for pid, was in zip(pids, before, strict=True))
    if bad or broken or not requests:
        sys.exit(f"{bad} bad answers, {broken} broken connections of {requests} requests ({script.name})")
    return {
        "requests_per_s": requests / duration_us * 1e6,
        "cpu_us": (transformer + predictor) / requests * 1e6,
        "transformer_cpu_us": transformer / requests * 1e6,
        "predictor_cpu_us": predictor / requests * 1e6,
        "p50_ms": p50_us / 1e3,
        "p99_ms": p99_us / 1e3,
    }


def wrk(port: int, script: Path, connections: int, seconds: float) -> list[int]:
    command = ["taskset", "-c", LOAD_CPU, "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    url = f"http://127.0.0.1:{port}/models/{MODEL}/predict"
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    return [int(part) for part in line.split()[1:]]


def cpu_s(pid: int) -> float:
    parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def feast_side(arguments: list[str]) -> str:
    command = ["taskset", "-c", SERVER_CPU, sys.executable, str(HERE / "pipeline_feast.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"Feast's side failed:\n{done.stderr[-2000:]}")
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def hand_run(directory: Path, rows: int, seconds: float) -> float:
    """Microseconds a row of encoder and model on one batch, nothing else, on the servers' core and one thread."""
    from penstock.bundle.reading import open_bundle
    from penstock.features.encoder import Encoder
    from penstock.features.values import column_of
    from penstock.onnx import SessionSettings, load

    os.sched_setaffinity(0, {int(SERVER_CPU)})
    try:
        opened = open_bundle(directory)
        assert opened.features is not None
        encoder = Encoder(opened.read("encoder.onnx"), opened.features)
        session = load(opened.model_path, SessionSettings(threads=1))
        rng = np.random.default_rng(7)
        columns = {name: column_of(rng.normal(size=rows).tolist(), "float32", name) for name in NUMERIC}
        columns["segment"] = column_of([SEGMENTS[i % 12] for i in range(rows)], "string", "segment")
        session.run(encoder.encode(columns))
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            session.run(encoder.encode(columns))
            count += 1
        return (time.perf_counter() - began) / count / rows * 1e6
    finally:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


if __name__ == "__main__":
    main()

"""Requests a second of the predictor beside a plain FastAPI route around the same session: a core each for server and load.

    python bench/predictor.py [--rounds 3] [--seconds 4] [--json]

A 32-64-64-1 MLP, one row a request. Every round starts with the next server, so that a slow minute of the machine falls on all of
them; figures are medians over the rounds. wrk is a closed loop: it shows what a core can do, not latency at a given rate.
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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
MODEL = "mlp"
PATH = f"/v2/models/{MODEL}/infer"
SERVER_CPU, LOAD_CPU = "0", "1"

# Name -> (server, body form). The peer's target is the first row; the rest show where the difference comes from.
SERVERS = {
    "penstock": ["-m", "penstock_predictor"],
    "penstock without a batcher": [str(HERE / "predictor_servers.py"), "direct"],
    "fastapi": [str(HERE / "predictor_servers.py"), "fastapi"],
}
FORMS = ("json", "binary")
CONNECTIONS = (64, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--nice", type=int, default=0, help="niceness of server and load; below 0 (root) on a machine with other work"
    )
    given = parser.parse_args()
    if given.nice:
        os.nice(given.nice)
        with suppress(OSError):
            # Linux weighs sessions against each other first, and only then processes within one.
            Path("/proc/self/autogroup").write_text(str(given.nice))
    result = measure(given.rounds, given.seconds)
    print(json.dumps(result, indent=1) if given.json else "\n".join(table(result)))


def measure(rounds: int = 3, seconds: float = 4.0) -> dict[str, Any]:
    """All servers, forms and numbers of connections: requests/s, server CPU us a request, latency in ms; and the ratios."""
    if shutil.which("wrk") is None:
        sys.exit("bench/predictor.py needs wrk (Debian: apt-get install wrk)")
    samples: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        prepare(directory)
        for _ in range(rounds):
            for server, command in SERVERS.items():
                with running(command, directory) as (port, pid):
                    for form in FORMS:
                        for connections in CONNECTIONS:
                            found = load(port, pid, directory / f"{form}.lua", connections, seconds)
                            samples.setdefault((server, form, connections), []).append(found)
    rows = [
        {"server": server, "form": form, "connections": connections} | medians(found)
        for (server, form, connections), found in samples.items()
    ]
    return {"bench": "predictor", "model": "32-64-64-1 MLP, one row a request", "rows": rows, "ratios": ratios(rows)}


def medians(samples: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(sample[key] for sample in samples), 2) for key in samples[0]}


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What the project promises: times FastAPI at 64 connections, and times the same without a batcher at one."""
    rate = {(row["server"], row["form"], row["connections"]): row["requests_per_s"] for row in rows}
    found = {}
    for form in FORMS:
        # The peer is the plain route, JSON through pydantic, whatever form our own request has.
        found[f"{form}, 64 connections, times FastAPI + pydantic"] = rate["penstock", form, 64] / rate["fastapi", "json", 64]
        found[f"{form}, 1 connection, times no batcher"] = rate["penstock", form, 1] / rate["penstock without a batcher", form, 1]
    found["binary, 64 connections, times FastAPI's raw body"] = rate["penstock", "binary", 64] / rate["fastapi", "binary", 64]
    return {name: round(value, 2) for name, value in found.items()}


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| server | form | connections | requests/s | CPU us a request | p50 ms | p99 ms |"
    yield "|---|---|---|---|---|---|---|"
    for row in result["rows"]:
        yield (
            f"| {row['server']} | {row['form']} | {row['connections']} | {row['requests_per_s']:,.0f} | {row['cpu_us']} |"
            f" {row['p50_ms']} | {row['p99_ms']} |"
        )
    yield ""
    for name, value in result["ratios"].items():
        yield f"- {name}: {value}"


def prepare(directory: Path) -> None:
    """The model and wrk's scripts."""
    from penstock.testing.models import mlp

    (directory / "model").mkdir()
    (directory / "model" / "model.onnx").write_bytes(mlp())
    values = np.random.default_rng(1).normal(size=(1, 32)).astype(np.float32)
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 32], "data": values.ravel().tolist()}]})
    (directory / "json.lua").write_text(_script(body.encode(), {"Content-Type": "application/json"}))
    head = json.dumps(
        {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 32], "parameters": {"binary_data_size": 128}}],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    ).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    (directory / "binary.lua").write_text(_script(head + values.tobytes(), headers))


def _script(body: bytes, headers: dict[str, str]) -> str:
    escaped = "".join(f"\\{byte:03d}" for byte in body)
    lines = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers.items())
    # A status other than 200 must not look like speed.
    return f"""wrk.method = "POST"
wrk.body = "{escaped}"
{lines}
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


@contextmanager
def running(command: list[str], directory: Path) -> Iterator[tuple[int, int]]:
    """A server on its core: (port, pid)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--model_name", MODEL, "--model_dir", str(directory / "model"), "--http_port", str(port), "--admin_port", "-1"]
    environment = os.environ | {
        "PENSTOCK_PREDICTOR_DRAIN_DELAY_S": "0",
        "PENSTOCK_PREDICTOR_HOST": "127.0.0.1",
        "PENSTOCK_PREDICTOR_GRPC_PORT": "-1",
    }
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", SERVER_CPU, sys.executable, *command, *options], stdout=log, stderr=log, env=environment
        )
    try:
        _wait_ready(port, process, directory / "server.log")
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_ready(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready") as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    sys.exit(f"the server did not get ready:\n{log.read_text()[-2000:]}")


def load(port: int, pid: int, script: Path, connections: int, seconds: float) -> dict[str, float]:
    """One run of wrk after a short warm-up; fails on any answer that is not 200."""
    _wrk(port, script, connections, 0.5)
    before = _cpu_s(pid)
    requests, duration_us, p50_us, p99_us, bad, broken = _wrk(port, script, connections, seconds)
    used = _cpu_s(pid) - before
    if bad or broken or not requests:
        sys.exit(f"{bad} bad answers, {broken} broken connections of {requests} requests ({script.name})")
    return {
        "requests_per_s": requests / duration_us * 1e6,
        "cpu_us": used / requests * 1e6,
        "p50_ms": p50_us / 1e3,
        "p99_ms": p99_us / 1e3,
    }


def _wrk(port: int, script: Path, connections: int, seconds: float) -> list[int]:
    options = ["-t1", "--timeout", "20s", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    command = ["taskset", "-c", LOAD_CPU, "wrk", *options]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}{PATH}"], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    return [int(part) for part in line.split()[1:]]


def _cpu_s(pid: int) -> float:
    parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

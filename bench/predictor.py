"""Requests a second of the predictor beside a plain FastAPI route around the same session: a core each for server and load.

    python bench/predictor.py [--rounds 3] [--seconds 4] [--json]

A 32-64-64-1 MLP, one row a request. Every round starts with the next server, so that a slow minute of the machine falls on all of
them; figures are medians over the rounds. wrk is a closed loop: it shows what a core can do, not latency at a given rate.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from command_line import command_line, parsed, show
from rig import load, medians, post_script, processes, require

from penstock.testing.servers import free_port

HERE = Path(__file__).resolve().parent
MODEL = "mlp"
PATH = f"/v2/models/{MODEL}/infer"

# Name -> (server, body form). The peer's target is the first row; the rest show where the difference comes from.
SERVERS = {
    "penstock": ["-m", "penstock_predictor"],
    "penstock without a batcher": [str(HERE / "predictor_servers.py"), "direct"],
    "fastapi": [str(HERE / "predictor_servers.py"), "fastapi"],
}
FORMS = ("json", "binary")
CONNECTIONS = (64, 1)


def main() -> None:
    given = parsed(command_line(__doc__))
    result = measure(given.rounds, given.seconds)
    show(given, result, table)


def measure(rounds: int = 3, seconds: float = 4.0) -> dict[str, Any]:
    """All servers, forms and numbers of connections: requests/s, server CPU us a request, latency in ms; and the ratios."""
    require("bench/predictor.py", "wrk")
    samples: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        prepare(directory)
        for _ in range(rounds):
            for server, command in SERVERS.items():
                with running(command, directory) as (port, pid):
                    for form in FORMS:
                        for connections in CONNECTIONS:
                            found = load(f"http://127.0.0.1:{port}{PATH}", [pid], directory / f"{form}.lua", connections, seconds)
                            samples.setdefault((server, form, connections), []).append(found)
    rows = [
        {"server": server, "form": form, "connections": connections} | medians(found)
        for (server, form, connections), found in samples.items()
    ]
    return {"bench": "predictor", "model": "32-64-64-1 MLP, one row a request", "rows": rows, "ratios": ratios(rows)}


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
    (directory / "json.lua").write_text(post_script((body.encode(), {"Content-Type": "application/json"})))
    head = json.dumps(
        {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 32], "parameters": {"binary_data_size": 128}}],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    ).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    (directory / "binary.lua").write_text(post_script((head + values.tobytes(), headers)))


@contextmanager
def running(command: list[str], directory: Path) -> Iterator[tuple[int, int]]:
    """A server on its core: (port, pid)."""
    port = free_port()
    model = ["--model_name", MODEL, "--model_dir", str(directory / "model"), "--host", "127.0.0.1", "--drain_delay_s", "0"]
    ports = ["--http_port", str(port), "--grpc_port", "-1", "--admin_port", "-1"]
    with processes([[*command, *model, *ports]], port, directory / "server.log") as (pid,):
        yield port, pid


if __name__ == "__main__":
    main()

"""What is left of a server's speed when callers ask for more than it can carry: goodput, latency and refusals at 1x, 2x and 3x.

    python bench/overload.py [--rounds 3] [--seconds 4] [--deadline_ms 100] [--json]

The predictor on one core with a model of about a millisecond a row. What it can carry is found with a closed loop (wrk, 256
connections: full batches); then an open loop (penstock.testing.open_loop: exponential gaps, times from the moment a request was
due) asks for multiples of it. Every request says `Penstock-Timeout-Ms`. Goodput: answers within the deadline, a second.
"""

import asyncio
import gc
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent))
from command_line import command_line, parsed, show
from rig import LOAD_CPU, post_script, processes, require, wrk

from penstock.testing.models import mlp
from penstock.testing.open_loop import OpenLoop, OpenLoopResult
from penstock.testing.raw_http import raw_request
from penstock.testing.servers import free_port

PATH = "/v2/models/mlp/infer"
TIMES = (0.8, 1.0, 2.0, 3.0)
SIZES = (32, 2048, 2048, 2048, 1)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--deadline_ms", type=int, default=100)
    given = parsed(parser)
    result = measure(given.rounds, given.seconds, given.deadline_ms)
    show(given, result, table)


def measure(rounds: int = 3, seconds: float = 4.0, deadline_ms: int = 100) -> dict[str, Any]:
    """Medians over the rounds, by multiple of what the server can carry."""
    require("bench/overload.py", "wrk")
    samples: dict[float, list[dict[str, float]]] = {}
    carried = []
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        request, script = prepare(directory, deadline_ms)
        port = free_port()
        options = ["--model_name", "mlp", "--model_dir", str(directory / "model"), "--http_port", str(port), "--admin_port", "-1"]
        command = ["-m", "penstock_predictor", *options, "--host", "127.0.0.1", "--drain_delay_s", "0"]
        with processes([command], port, directory / "server.log"):
            for _ in range(rounds):
                wrk(f"http://127.0.0.1:{port}{PATH}", script, 256, 1)
                requests, duration_us, _, _ = wrk(f"http://127.0.0.1:{port}{PATH}", script, 256, seconds)
                capacity = requests / duration_us * 1e6
                carried.append(capacity)
                for times in TIMES:
                    found = load(port, request, capacity * times, seconds)
                    samples.setdefault(times, []).append(figures(found, deadline_ms / 1e3))
    rows = [{"times": times} | _medians(found) for times, found in samples.items()]
    # None at all on a machine that does much else: 0 % of it, then.
    best = max(row["goodput"] for row in rows) or 1.0
    for row in rows:
        row["of_best"] = round(row["goodput"] / best, 3)
    return {
        "bench": "overload",
        "model": f"MLP {'-'.join(map(str, SIZES))}, one row a request",
        "deadline_ms": deadline_ms,
        "carried": round(statistics.median(carried)),
        "rows": rows,
    }


def load(port: int, request: bytes, rate: float, seconds: float) -> OpenLoopResult:
    """One run of the open loop, on the load's core, in a process of its own that has no other work."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(_load, (port, request, rate, seconds))


def _load(port: int, request: bytes, rate: float, seconds: float) -> OpenLoopResult:
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    gc.disable()

    async def run() -> OpenLoopResult:
        return await OpenLoop(port, request, rate, seconds).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def figures(found: OpenLoopResult, deadline_s: float) -> dict[str, float]:
    """What one run shows; times in ms."""
    refusals = [status for status in found.latencies_s if status == 429]
    return {
        "asked": found.sent / found.seconds,
        "goodput": found.goodput(deadline_s),
        "answered_p50_ms": found.quantile_s(0.5, 200) * 1e3,
        "answered_p99_ms": found.quantile_s(0.99, 200) * 1e3,
        "refused": found.count(429) / found.seconds,
        "refused_p50_ms": found.quantile_s(0.5, *refusals) * 1e3,
        "refused_p99_ms": found.quantile_s(0.99, *refusals) * 1e3,
        "timed_out": found.count(504) / found.seconds,
        "other": (found.lost + sum(found.count(s) for s in found.latencies_s if s not in (200, 429, 504))) / found.seconds,
    }


def _medians(samples: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(sample[key] for sample in samples), 1) for key in samples[0]}


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield f"{result['model']}; deadline {result['deadline_ms']} ms; a closed loop gets {result['carried']:,}/s; times in ms"
    yield ""
    yield "| asked | requests/s | goodput/s | of best | answered p50, p99 | refused/s | p50, p99 | timed out/s | other/s |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in result["rows"]:
        yield (
            f"| {row['times']:g}x | {row['asked']:,.0f} | {row['goodput']:,.0f} | {row['of_best']:.0%} |"
            f" {row['answered_p50_ms']}, {row['answered_p99_ms']} | {row['refused']:,.0f} |"
            f" {row['refused_p50_ms']}, {row['refused_p99_ms']} | {row['timed_out']:,.0f} | {row['other']:,.0f} |"
        )


def prepare(directory: Path, deadline_ms: int) -> tuple[bytes, Path]:
    """The model, the request as bytes, and wrk's script without a deadline."""
    (directory / "model").mkdir()
    (directory / "model" / "model.onnx").write_bytes(mlp(SIZES))
    values = np.random.default_rng(1).normal(size=(1, 32)).astype(np.float32)
    described = {"name": "x", "datatype": "FP32", "shape": [1, 32], "parameters": {"binary_data_size": 128}}
    head = json.dumps({"inputs": [described], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
    body = head + values.tobytes()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    script = directory / "load.lua"
    script.write_text(post_script((body, headers)))
    return raw_request("POST", PATH, body, headers | {"Penstock-Timeout-Ms": str(deadline_ms)}), script


if __name__ == "__main__":
    main()

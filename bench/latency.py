"""Latency of the peers and of ours at rates that callers set (an open loop), and the highest rate at which p99 stays under 10 ms.

    python bench/latency.py [--rounds 1] [--seconds 3] [--peers penstock,KServe] [--json]

The small MLP, JSON. Every latency runs from the moment that a request was due (see penstock.testing.open_loop), so what a server
makes its callers wait is seen. The rates grow by half until p99 is over the limit or answers are missing; the generator itself
ends at some 15,000 requests/s.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import peer_models
from command_line import command_line, parsed, show
from overload import load
from peer_table import PEERS, Start
from peers import Unavailable, running
from rig import medians, reason_shown, require

from penstock.testing.open_loop import OpenLoopResult

MODEL = "small"
FIXED_RATE = 300.0
LIMIT_MS = 10.0
FIRST_RATE, GROWTH, LAST_RATE = 200.0, 1.5, 20_000.0


def main() -> None:
    parser = command_line(__doc__, rounds=1, seconds=3.0)
    parser.add_argument("--peers", default=",".join(PEERS).replace(", batching", "+"), help="names; + after one for its batching")
    given = parsed(parser)
    require("bench/latency.py", "taskset")
    peers = [name.replace("+", ", batching") for name in given.peers.split(",")]
    result = measure(peers, given.rounds, given.seconds)
    show(given, result, table)


def measure(peers: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """Each peer's latencies (ms) by rate, and the highest rate within the limit."""
    samples: dict[str, list[dict[str, float]]] = {}
    curves: dict[str, list[list[float]]] = {}
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = peer_models.save(Path(folder), [MODEL])[MODEL]
        for _ in range(rounds):
            for name in peers:
                print(name, file=sys.stderr, flush=True)
                try:
                    with running(PEERS[name], model, MODEL) as (start, _pid, _start_s):
                        found, curves[name] = _measure_one(name, start, seconds)
                except (Unavailable, subprocess.CalledProcessError) as failure:
                    failures[name] = str(failure)[-500:]
                    continue
                samples.setdefault(name, []).append(found)
    rows = [{"server": name} | medians(found) for name, found in samples.items()]
    return {"bench": "latency", "rows": rows, "curves": curves, "failures": failures}


def _measure_one(name: str, start: Start, seconds: float) -> tuple[dict[str, float], list[list[float]]]:
    peer = PEERS[name]
    body, headers = peer.forms["json"](MODEL, 1)
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    head = f"POST {peer.path} HTTP/1.1\r\nHost: bench\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    load(start.port, request, FIXED_RATE, 1.0)
    fixed = load(start.port, request, FIXED_RATE, seconds)
    curve: list[list[float]] = []
    best, rate = 0.0, FIRST_RATE
    while rate <= LAST_RATE:
        found = load(start.port, request, rate, seconds)
        p99_ms = found.quantile_s(0.99, 200) * 1e3
        curve.append([round(rate), round(found.quantile_s(0.5, 200) * 1e3, 2), round(p99_ms, 2)])
        if p99_ms > LIMIT_MS or _missing(found) > 0.001:
            break
        best, rate = rate, rate * GROWTH
    latencies = {f"p{share * 100:g}_ms": fixed.quantile_s(share, 200) * 1e3 for share in (0.5, 0.99, 0.999)}
    return {**latencies, "unanswered": _missing(fixed), "best_rate": best}, curve


def _missing(found: OpenLoopResult) -> float:
    """The part of the requests that got no good answer."""
    return 1 - found.count(200) / max(found.sent, 1)


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield f"| server | p50 ms at {FIXED_RATE:g}/s | p99 | p99.9 | highest rate with p99 under {LIMIT_MS:g} ms |"
    yield "|---|---|---|---|---|"
    for row in result["rows"]:
        lost = f" ({row['unanswered']:.1%} unanswered)" if row["unanswered"] > 0.001 else ""
        rate = f"{row['best_rate']:,.0f}" if row["best_rate"] else f"none of {FIRST_RATE:g} and more"
        yield f"| {row['server']} | {row['p50_ms']} | {row['p99_ms']} | {row['p99.9_ms']}{lost} | {rate} |"
    for name, reason in result["failures"].items():
        yield f"- not measured: {name}: {reason_shown(reason)}"


if __name__ == "__main__":
    main()

"""Predictions that are answered later: submits a core of the server carries, and how soon a result is seen at low load.

    python bench/async_predictions.py [--rounds 1] [--seconds 8] [--only "SQLite"] [--json]

    wrk, closed loop --POST /models/bench/predictions--> 202          CPU of each program, until all has ended
    one caller, now and then --POST--> the result: Prefer: wait, server-sent events, or GET with Prefer: wait

The submits come first: a broker and a database that have just been started are not what a single caller meets.
Our programs share the servers' core; database, broker and load the other. Of one process more than one of these may be what it
does: where there is no broker the server that takes predictions makes them, too. PostgreSQL commits to its disk. `predict` is the
answer of the same row without any of this.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from async_stack import STACKS, Stack
from command_line import command_line, parsed, show
from rig import LOAD_CPU, medians, post_script, require, wrk
from streaming import MODEL, ROWS_VALUE
from streaming_flow import quantile_ms

from penstock.testing.raw_http import RawConnection, raw_request

CONNECTIONS = 64
PATH = f"/models/{MODEL}/predictions"
JSON = {"Content-Type": "application/json"}
# The mean of the times between a caller's answer and his next request.
THINK_S = 0.05
ASKED_PER_CORE, LIMIT_MS = 3000, 20.0


def main() -> None:
    parser = command_line(__doc__, rounds=1, seconds=8.0, seconds_help="of the submits, and of each way to wait")
    parser.add_argument("--only", action="append", choices=tuple(STACKS), help="one of them; may be given again")
    given = parsed(parser)
    result = measure(given.rounds, given.seconds, given.only or list(STACKS))
    show(given, result, table)


def measure(rounds: int, seconds: float, names: Sequence[str]) -> dict[str, Any]:
    """Medians over the rounds, a row a way to set it up; `cpu` has each program's CPU us a prediction until all have ended."""
    require("bench/async_predictions.py", "wrk")
    # What is started from here on inherits it: database, broker and load share the load's core.
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    shares: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            with STACKS[name]() as stack:
                submits, cpu = submitted(stack, seconds)
                found = waited(stack, seconds)
            samples[name].append(submits | found)
            shares[name].append(cpu)
            print(f"{name}: {samples[name][-1]} {cpu}", file=sys.stderr, flush=True)
    rows = [{"stack": name} | medians(found) | {"cpu": medians(shares[name], 0)} for name, found in samples.items()]
    return {"bench": "async_predictions", "connections": CONNECTIONS, "rows": rows}


def submitted(stack: Stack, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """Submits in a closed loop: their rate and CPU us of the program that takes them; then each program's CPU us a prediction."""
    url = f"http://127.0.0.1:{stack.port}{PATH}"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "submit.lua"
        script.write_text(post_script((ROWS_VALUE, JSON)))
        wrk(url, script, CONNECTIONS, 1)
        stack.drain()
        cpu_s, count = stack.cpu_s(), stack.submitted()
        requests, duration_us, _, p99_us = wrk(url, script, CONNECTIONS, seconds)
        taking = "transformer" if "transformer" in stack.pids else "server"
        taken_s = stack.cpu_s()[taking] - cpu_s[taking]
        taken = stack.submitted() - count
        stack.drain()
    used = {name: round((now - cpu_s[name]) / taken * 1e6) for name, now in stack.cpu_s().items()}
    submits = {
        "submits_per_s": requests / duration_us * 1e6,
        "submit_p99_ms": p99_us / 1e3,
        "submit_us": taken_s / taken * 1e6,
        "per_core": taken / taken_s,
    }
    return submits, used


def waited(stack: Stack, seconds: float) -> dict[str, float]:
    """Times from a submit to its result, in ms, by way of waiting; and of predict."""
    found: dict[str, float] = {}
    draw = random.Random(1)
    with RawConnection(stack.port, timeout_s=60.0) as connection:
        for name, way in WAYS.items():
            for _ in range(5):
                way(connection)
            times_s = []
            # Predict itself is there to compare with, and varies less.
            until = time.monotonic() + (seconds / 4 if name == "predict" else seconds)
            while time.monotonic() < until:
                time.sleep(draw.expovariate(1 / THINK_S))
                began = time.monotonic()
                way(connection)
                times_s.append(time.monotonic() - began)
            found |= {f"{name}_p50_ms": quantile_ms(times_s, 0.5), f"{name}_p99_ms": quantile_ms(times_s, 0.99)}
    return found


def _predict(connection: RawConnection) -> None:
    _expect(200, connection.send(raw_request("POST", f"/models/{MODEL}/predict", ROWS_VALUE, JSON)).answer())


def _wait(connection: RawConnection) -> None:
    answer = connection.send(raw_request("POST", PATH, ROWS_VALUE, JSON | {"Prefer": "wait=30"})).answer()
    _expect(200, answer, b'"succeeded"')


def _events(connection: RawConnection) -> None:
    _expect(200, connection.send(raw_request("GET", f"/predictions/{_submit(connection)}/events")).answer(), b"event: succeeded")


def _look(connection: RawConnection) -> None:
    request = raw_request("GET", f"/predictions/{_submit(connection)}", headers={"Prefer": "wait=30"})
    _expect(200, connection.send(request).answer(), b'"succeeded"')


def _submit(connection: RawConnection) -> str:
    answer = connection.send(raw_request("POST", PATH, ROWS_VALUE, JSON)).answer()
    _expect(202, answer)
    return str(json.loads(answer.body)["id"])


def _expect(status: int, answer: Any, part: bytes = b"") -> None:
    if answer.status != status or part not in answer.body:
        sys.exit(f"expected {status} with {part!r}, got {answer.status}: {answer.body[:500]!r}")


WAYS: dict[str, Callable[[RawConnection], None]] = {"predict": _predict, "wait": _wait, "events": _events, "look": _look}


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of Markdown tables."""
    yield f"Submits: {result['connections']} connections, closed loop; asked with PostgreSQL: {ASKED_PER_CORE:,}/s per core."
    yield ""
    yield "| | submits/s | per core of the server that takes them | its CPU us a submit | CPU us a prediction to its end |"
    yield "|---|---|---|---|---|"
    for row in result["rows"]:
        cpu = ", ".join(f"{name} {us:.0f}" for name, us in row["cpu"].items())
        yield f"| {row['stack']} | {row['submits_per_s']:,.0f} | {row['per_core']:,.0f} | {row['submit_us']:.0f} | {cpu} |"
    yield ""
    yield f"From submit to result at low load, p50 / p99 in ms (asked: p50 under {LIMIT_MS:g}):"
    yield ""
    yield "| | `Prefer: wait` | server-sent events | `GET` with `Prefer: wait` | predict, which waits for nothing |"
    yield "|---|---|---|---|---|"
    for row in result["rows"]:
        cells = (f"{row[f'{name}_p50_ms']} / {row[f'{name}_p99_ms']}" for name in ("wait", "events", "look", "predict"))
        yield f"| {row['stack']} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

"""The benchmarks of Kafka and of predictions that are answered later: run with their smallest settings; their tables and plot.

What they measure here does not count, and no figure is looked at except for being there.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from penstock.testing.kafka import java
from penstock.testing.servers import ServerMissing

BENCH = Path(__file__).parents[3] / "bench"
LIMIT_S = 240
TRADE = {
    "client": "confluent",
    "rate": 1000.0,
    "load": [{"rate": 50, "p50_ms": 9.5, "p99_ms": 20.1, "cpu_us": 900.0, "a_transaction": 1.2, "commit_ms": 6.1}],
    "interval": [{"interval_ms": 5, "p50_ms": 9.5, "p99_ms": 20.1, "cpu_us": 90.0, "a_transaction": 7.2, "commit_ms": 6.1}],
    "most": [
        {"most": 10, "records_per_s": 900, "per_core": 4000, "cpu_us": 250.0, "a_transaction": 10.0, "commit_ms": 6.1},
        {"most": 2000, "records_per_s": 9000, "per_core": 21000, "cpu_us": 48.0, "a_transaction": 1800.0, "commit_ms": 40.0},
    ],
}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A module of bench/, which is no package."""
    monkeypatch.syspath_prepend(str(BENCH))
    return import_module


def run(name: str, *options: str) -> dict[str, Any]:
    """A benchmark's result."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, str(BENCH / f"{name}.py"), "--seconds", "0.3", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["bench"] == name
    return result


def assert_table(lines: list[str]) -> None:
    assert any(line.startswith("|---") for line in lines)
    assert {"nan", "inf", "None"}.isdisjoint(" ".join(lines).split())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_records_are_timed_from_due_to_seen(bench: Callable[[str], Any]) -> None:
    try:
        java()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    result = run("streaming_latency", "--clients", "confluent", "--deliveries", "exactly-once", "--rate", "50")
    (row,) = result["rows"]
    assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["most_ms"]
    assert row["cpu_us"] > 0
    assert_table(list(bench("streaming_latency").table(result)))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_submits_and_waits_are_measured(bench: Callable[[str], Any]) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk not installed (Debian: apt-get install wrk)")
    result = run("async_predictions", "--only", "SQLite")
    (row,) = result["rows"]
    assert row["per_core"] > 0
    assert row["cpu"]["server"] > 0
    assert_table(list(bench("async_predictions").table(result)))


def test_memory_is_flat_or_not(bench: Callable[[str], Any]) -> None:
    memory = bench("streaming_memory")
    course = [(0, 80.0, 70.0), (120, 100.0, 75.0), (180, 102.0, 75.0), (950, 104.0, 75.0), (1000, 103.0, 76.0)]
    flat = {"client": "confluent", "records": 1000, "seconds": 2.0} | memory.figures(course)
    risen = flat | {"client": "kafka-python", "end_mib": 120.0}
    assert (flat["begin_mib"], flat["settled_mib"], flat["end_mib"]) == (80.0, 102.0, 104.0)
    lines = list(memory.table({"rows": [flat, risen]}))
    assert_table(lines)
    assert "+2.0%: flat |" in lines[-2]
    assert "+17.6%: not flat |" in lines[-1]


def test_slowest_contender_is_what_the_others_are_compared_with(bench: Callable[[str], Any]) -> None:
    row = {"records": 5e3, "records_per_s": 100.0, "cpu_us": 50.0, "per_core": 2e4, "beside_us": 9.0, "resident_mib": 90.0}
    rows = [{"contender": "ours"} | row, {"contender": "MLServer"} | row | {"per_core": 1000.0}]
    lines = list(bench("streaming").table({"rows": rows}))
    assert_table(lines)
    assert "times MLServer" in lines[2]
    assert "| 20.0 |" in lines[-2]


def test_trade_is_drawn(bench: Callable[[str], Any], tmp_path: Path) -> None:
    lines = list(bench("streaming_trade").table(TRADE))
    assert_table(lines)
    assert "--transaction_interval_ms" in "".join(lines)
    bench("streaming_plot").plot(TRADE, tmp_path / "trade.png")
    assert (tmp_path / "trade.png").read_bytes().startswith(b"\x89PNG")

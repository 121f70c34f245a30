"""Every benchmark, one after the other, and docs/benchmarks.md written from what they found.

    python bench/run.py [--rounds 3] [--seconds 4] [--only predictor,pipeline]

Each runs in a process of its own with `--json`, so that none warms another's caches, and prints its table. Results stay in
.bench/ as JSON: with `--only`, the page is written from the new ones and those kept; a section without either stays as it stands.
One that fails is named, and the exit status is 1; the others' results are written all the same. They need wrk, redis-server,
PostgreSQL, Kafka and what `make cluster-up` builds, and say so.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from latency import LIMIT_MS
from latency_plot import plot as plot_latency
from rig import ENVIRONMENT
from sections import sections_of
from stages_plot import plot
from streaming_plot import plot as plot_streaming

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = ROOT / ".bench"
PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "benchmarks.png"
LATENCY_PLOT = ROOT / "docs" / "benchmarks-latency.png"
STREAMING_PLOT = ROOT / "docs" / "benchmarks-streaming.png"
BENCHES = {
    "predictor": "The predictor beside plain FastAPI",
    "pipeline": "A prediction with stored features, beside Feast",
    "stages": "Where the time of such a prediction goes",
    "feature_store": "Reading the online store, beside Feast",
    "start_up": "Start-up and memory",
    "evidence_cost": "What evidence costs of a request",
    "operator_figures": "The operator against a real API server",
    "operator_rollouts": "A hundred rollouts on trial at once",
    "overload": "More than a server can carry",
    "peers": "The servers that one would otherwise pick",
    "latency": "Latency at a given rate",
    "many_rows": "Many rows a request, beside the session by hand",
    "streaming": "Records over Kafka, exactly once",
    "streaming_latency": "How long a record over Kafka takes",
    "streaming_trade": "Batches, transactions and latency over Kafka",
    "streaming_memory": "Memory over a million records",
    "async_predictions": "Predictions that are answered later",
}
INTRODUCTION = """# Benchmarks

Written by `make bench`. Server on one core, load (wrk, a closed loop) on another; medians over the rounds; every round runs all
servers, so that a slow minute of the machine falls on all of them. Trust the ratios; absolute figures are this machine's.
"""
# One round of every peer takes half an hour, most of it on the slow ones; an open loop needs its seconds for a p99.9.
OWN_PACE = {
    "peers": (1, 2.0),
    "latency": (1, 3.0),
    "streaming": (2, 5.0),
    "streaming_latency": (1, 12.0),
    "streaming_trade": (1, 4.0),
    "streaming_memory": (1, 0.0),
    "async_predictions": (1, 8.0),
}
PACKAGES = ("onnxruntime", "uvicorn", "fastapi", "feast", "numpy", "msgspec")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", default=",".join(BENCHES), help="names, comma-separated")
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in BENCHES]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHES)}")
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in names:
        print(f"\n{name}: {BENCHES[name]}", flush=True)
        try:
            result = run(name, *OWN_PACE.get(name, (given.rounds, given.seconds)))
        except Failed as failure:
            failed.append(name)
            print(f"FAILED {name}: {failure}", flush=True)
            continue
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1))
        print("\n".join(import_module(name).table(result)), flush=True)
    PAGE.write_text("\n".join(page(PAGE.read_text() if PAGE.exists() else "")) + "\n")
    print(f"\nwrote {PAGE.relative_to(ROOT)}")
    if failed:
        sys.exit(f"{', '.join(failed)} failed; the page holds their last results, if there are any")


class Failed(Exception):
    """A benchmark that could not be run, with what it said."""


def run(name: str, rounds: int, seconds: float) -> dict[str, Any]:
    """One benchmark's result, with when it was measured. Raises Failed."""
    command = [sys.executable, str(HERE / f"{name}.py"), "--rounds", str(rounds), "--seconds", str(seconds), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode:
        raise Failed("\n".join(done.stderr.strip().splitlines()[-8:]) or f"exit status {done.returncode}")
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise Failed(f"printed no JSON object: {error}") from None
    return result | {"measured": datetime.now(UTC).date().isoformat(), "rounds": rounds, "seconds": seconds}


def page(standing: str) -> Iterator[str]:
    """The page: how it was measured, then a section a benchmark. Draws the plots beside it.

    A benchmark without a kept result keeps its section of the page as it stands.
    """
    sections = sections_of(standing)
    yield INTRODUCTION
    system = f"{platform.system()} {platform.release()}"
    yield f"- Machine: {processor()}, {os.cpu_count()} cores, {memory_gib()} GiB, {system}, no GPU"
    yield f"- Python {platform.python_version()}; " + ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    for name, title in BENCHES.items():
        kept = RESULTS / f"{name}.json"
        if not kept.exists():
            if title in sections:
                yield ""
                yield f"## {title}"
                yield sections[title].rstrip("\n")
            continue
        result = json.loads(kept.read_text())
        yield ""
        yield f"## {title}"
        yield ""
        yield f"`bench/{name}.py`, {result['measured']}, {result['rounds']} rounds."
        yield ""
        yield from import_module(name).table(result)
        if name == "stages":
            plot(result, PLOT)
            yield ""
            yield f"![CPU of a prediction by stage]({PLOT.name})"
        if name == "latency":
            plot_latency(result, LATENCY_PLOT, LIMIT_MS)
            yield ""
            yield f"![Latency by rate]({LATENCY_PLOT.name})"
        if name == "streaming_trade":
            plot_streaming(result, STREAMING_PLOT)
            yield ""
            yield f"![Batches, transactions and latency]({STREAMING_PLOT.name})"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_gib() -> int:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)


if __name__ == "__main__":
    main()

"""How long a pod takes to start, and what it holds in memory, without a model.

    python bench/start_up.py [--rounds 3] [--json]

The predictor starts on an empty repository, the transformer before its predictor can be reached: both listen and are alive.
Time is from the start of the process to the log line that says it listens; memory is the resident set at that moment.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LIMIT_S = 60.0
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
PROGRAMS = {
    "predictor": ["-m", "penstock_predictor", "--model_dir"],
    "transformer": ["-m", "penstock_transformer", "--predictor_host", "127.0.0.1:9"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="ignored: a start takes as long as it takes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    result = measure(given.rounds)
    print(json.dumps(result, indent=1) if given.json else "\n".join(table(result)))


def measure(rounds: int = 3) -> dict[str, Any]:
    """Seconds to listening and MiB of memory per program, medians over the rounds."""
    rows = []
    for program, command in PROGRAMS.items():
        with tempfile.TemporaryDirectory() as empty:
            options = [*command, empty] if program == "predictor" else command
            start(options, Path(empty))  # the first one may have to compile its imports
            found = [start(options, Path(empty)) for _ in range(rounds)]
        medians = {key: round(statistics.median(sample[key] for sample in found), 2) for key in found[0]}
        rows.append({"program": program, **medians})
    return {"bench": "start_up", "rows": rows, "ratios": {}}


def start(command: list[str], directory: Path) -> dict[str, float]:
    """One start: seconds to listening, resident memory then."""
    options = ["--model_name", "m", "--host", "127.0.0.1", "--http_port", "0", "--grpc_port", "0", "--admin_port", "-1"]
    began = time.monotonic()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command, *options], stdout=log, stderr=log, env=ENVIRONMENT)
    try:
        while b'"event":"listening"' not in (written := (directory / "log").read_bytes()):
            if process.poll() is not None or time.monotonic() - began > LIMIT_S:
                sys.exit(f"{command} did not listen:\n{written.decode()}")
            time.sleep(0.005)
        seconds = time.monotonic() - began
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.kill()
        process.wait()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return {"seconds": seconds, "memory_mib": int(resident.split()[1]) / 1024}


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| program | s to listening | MiB resident |"
    yield "|---|---|---|"
    for row in result["rows"]:
        yield f"| {row['program']} | {row['seconds']} | {row['memory_mib']:.0f} |"


if __name__ == "__main__":
    main()

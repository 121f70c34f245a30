"""How long a pod takes to start, and what it holds in memory, without a model.

    python bench/start_up.py [--rounds 3] [--json]

The predictor starts on an empty repository, the transformer before its predictor can be reached: both listen and are alive.
Time is from the start of the process to the log line that says it listens; memory is the resident set at that moment.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from command_line import command_line, parsed, show
from rig import ENVIRONMENT, resident_mib

LIMIT_S = 60.0
PROGRAMS = {
    "predictor": ["-m", "penstock_predictor", "--model_dir"],
    "transformer": ["-m", "penstock_transformer", "--predictor_host", "127.0.0.1:9"],
}


def main() -> None:
    given = parsed(command_line(__doc__, seconds=None, seconds_help="ignored: a start takes as long as it takes"))
    result = measure(given.rounds)
    show(given, result, table)


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
        return {"seconds": time.monotonic() - began, "memory_mib": resident_mib(process.pid)}
    finally:
        process.kill()
        process.wait()


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| program | s to listening | MiB resident |"
    yield "|---|---|---|"
    for row in result["rows"]:
        yield f"| {row['program']} | {row['seconds']} | {row['memory_mib']:.0f} |"


if __name__ == "__main__":
    main()

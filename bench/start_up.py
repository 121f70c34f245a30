"""How long a pod takes to start, and what it holds in memory, without a model.

    python bench/start_up.py [--rounds 3] [--json]

The predictor starts on an empty repository, the transformer before its predictor can be reached, the operator before its API
server: all listen and are alive. Time is from the start of the process until it listens (the operator: takes a connection, the
others: say so in their logs); memory is the resident set at that moment.
"""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from command_line import command_line, parsed, show
from rig import ENVIRONMENT, resident_mib

from penstock.testing.servers import free_port

LIMIT_S = 60.0
SERVING = ("--model_name", "m", "--host", "127.0.0.1", "--http_port", "0", "--grpc_port", "0", "--admin_port", "-1")
PROGRAMS = ("predictor", "transformer", "operator")
# One of which nobody answers.
KUBECONFIG = {
    "clusters": [{"name": "away", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "away", "user": {"token": "none"}}],
    "contexts": [{"name": "away", "context": {"cluster": "away", "user": "away"}}],
    "current-context": "away",
}


def main() -> None:
    given = parsed(command_line(__doc__, seconds=None, seconds_help="ignored: a start takes as long as it takes"))
    result = measure(given.rounds)
    show(given, result, table)


def measure(rounds: int = 3) -> dict[str, Any]:
    """Seconds to listening and MiB of memory per program, medians over the rounds."""
    rows = []
    for program in PROGRAMS:
        with tempfile.TemporaryDirectory() as empty:
            start(program, Path(empty))  # the first one may have to compile its imports
            found = [start(program, Path(empty)) for _ in range(rounds)]
        medians = {key: round(statistics.median(sample[key] for sample in found), 2) for key in found[0]}
        rows.append({"program": program, **medians})
    return {"bench": "start_up", "rows": rows, "ratios": {}}


def start(program: str, directory: Path) -> dict[str, float]:
    """One start: seconds to listening, resident memory then."""
    port = free_port()
    command = [sys.executable, "-m", f"penstock_{program}", *options(program, port, directory)]
    log = directory / "log"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=ENVIRONMENT)
    try:
        while not listens(program, port, log):
            if process.poll() is not None or time.monotonic() - began > LIMIT_S:
                sys.exit(f"the {program} did not listen:\n{log.read_text()}")
            time.sleep(0.005)
        return {"seconds": time.monotonic() - began, "memory_mib": resident_mib(process.pid)}
    finally:
        process.kill()
        process.wait()


def options(program: str, port: int, directory: Path) -> Sequence[str]:
    """What it is started with; only the operator needs a port that is known."""
    if program == "predictor":
        (directory / "models").mkdir(exist_ok=True)
        return ("--model_dir", str(directory / "models"), *SERVING)
    if program == "transformer":
        return ("--predictor_host", "127.0.0.1:9", *SERVING)
    (directory / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    return ("--kubeconfig", str(directory / "kubeconfig"), "--http_port", str(port), "--admin_port", str(port))


def listens(program: str, port: int, log: Path) -> bool:
    """The operator has no line in its log for that."""
    if program != "operator":
        return b'"event":"listening"' in log.read_bytes()
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| program | s to listening | MiB resident |"
    yield "|---|---|---|"
    for row in result["rows"]:
        yield f"| {row['program']} | {row['seconds']} | {row['memory_mib']:.0f} |"


if __name__ == "__main__":
    main()

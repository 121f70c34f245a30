"""Every fuzzer, one after the other, and a table of what they did.

    python tests/fuzz/run.py [--runs 1000000] [--only v2_json,http] [--cores 2]

`--runs` is the sum over all targets, shared out by how much an input costs. The exit status is 1 if an input broke a target, or
if memory grew by more than a tenth over the last nine tenths of a run. `make fuzz` runs a million, and then `documents.py`.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / "fuzz"
# Parts of the runs: decoders alone take tens of microseconds an input, the whole server a millisecond.
SHARES = {
    "v2_json": 22, "v2_binary": 20, "v1": 12, "grpc": 16, "headers": 8, "features": 2, "kafka": 8, "http": 6, "websocket": 4,
    "predict": 4, "csv": 2, "multipart": 1, "ndjson": 1, "arrow": 1, "image": 1,
}  # fmt: skip
GROWTH = 1.1
# What allocators and caches take up once is no growth.
SLACK_MIB = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--only", default=",".join(SHARES))
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    names = given.only.split(",")
    whole = sum(SHARES[name] for name in names)
    with ThreadPoolExecutor(given.cores) as pool:
        found = list(pool.map(lambda name: one(name, max(100, given.runs * SHARES[name] // whole)), names))
    print("\n".join(table(found)))
    if any(result["fault"] for result in found):
        sys.exit("an input broke a target, or memory grew; inputs are kept in tests/fuzz/corpus")
    if given.only == ",".join(SHARES):
        sys.exit(subprocess.run([sys.executable, str(HERE / "documents.py")], check=False).returncode)


def one(name: str, runs: int) -> dict[str, Any]:
    """A fuzzer's result, with its fault in words if it has one."""
    command = [sys.executable, str(HERE / "one.py"), name, "--runs", str(runs), "--corpus", str(CACHE / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("{")), None)
    if done.returncode or line is None:
        return {"target": name, "fault": (done.stdout + done.stderr)[-3000:] or f"ended with status {done.returncode}"}
    result: dict[str, Any] = json.loads(line)
    print(line, file=sys.stderr, flush=True)
    grown = result["end_mib"] > result["early_mib"] * GROWTH + SLACK_MIB
    return result | {"fault": f"memory grew: {result['early_mib']} to {result['end_mib']} MiB" if grown else None}


def table(found: list[dict[str, Any]]) -> list[str]:
    """A line a target, and the sum."""
    lines = ["| target | inputs | seconds | MiB after a tenth | at the end |", "|---|---|---|---|---|"]
    for result in found:
        if "inputs" in result:
            figures = " | ".join(str(result[name]) for name in ("inputs", "seconds", "early_mib", "end_mib"))
            lines.append(f"| {result['target']} | {figures} |")
    lines.append(f"\n{sum(result.get('inputs', 0) for result in found):,} inputs")
    lines += [f"\nFAULT {result['target']}: {result['fault']}" for result in found if result["fault"]]
    return lines


if __name__ == "__main__":
    main()

"""One fuzzer as a process: Atheris (libFuzzer with the coverage of Python code) on one target.

    python tests/fuzz/one.py TARGET --runs N [--corpus DIR]      python tests/fuzz/one.py TARGET|all --replay

Prints a line of JSON: inputs, seconds, and the memory after a tenth of the runs and at the end. An input that breaks the target
is kept in its corpus as `found-…` and ends the process with an error. `--replay` feeds the kept corpus and stops; it needs no
Atheris.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEPT = HERE / "corpus"
SLOW_S = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--corpus", type=Path, help="where inputs that reach new code are kept between runs")
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.replay:
        names = sorted(path.name for path in KEPT.iterdir()) if given.target == "all" else [given.target]
        for name in names:
            print(json.dumps(replay(name)), flush=True)
    else:
        fuzz(given)


def replay(name: str) -> dict[str, object]:
    """Feed every kept input of a target once. Raises what the target raises."""
    from targets import TARGETS

    target = TARGETS[name]()
    files = sorted((KEPT / name).glob("*"))
    for file in files:
        try:
            target(file.read_bytes())
        except Exception as error:
            error.add_note(f"input: {file}")
            raise
    return {"target": name, "inputs": len(files)}


def fuzz(given: argparse.Namespace) -> None:
    import atheris

    with atheris.instrument_imports(include=["penstock", "penstock_transformer", "penstock_predictor"]):
        from targets import TARGETS
    target = TARGETS[given.target]()
    state = {"count": 0, "early": 0.0, "began": time.monotonic()}
    early = max(given.runs // 10, 1)

    def one(data: bytes) -> None:
        state["count"] += 1
        if state["count"] == early:
            state["early"] = resident_mib()
        try:
            target(data)
        except Exception as error:
            keep(given.target, data)
            error.add_note(f"input: {data[:300]!r}")
            raise
        if state["count"] == given.runs:
            seconds = round(time.monotonic() - state["began"], 1)
            memory = {"early_mib": round(state["early"], 1), "end_mib": round(resident_mib(), 1)}
            print(json.dumps({"target": given.target, "inputs": given.runs, "seconds": seconds, **memory}), flush=True)
            # libFuzzer counts differently; what was asked for is done.
            os._exit(0)

    # libFuzzer writes what reaches new code to the first folder, and only reads the others.
    folders = [str(given.corpus or tempfile.mkdtemp()), str(KEPT / given.target)]
    for folder in folders:
        Path(folder).mkdir(parents=True, exist_ok=True)
    options = [f"-runs={given.runs * 2}", f"-seed={given.seed}", f"-timeout={SLOW_S}", "-rss_limit_mb=4096", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *options, "-verbosity=0", f"-artifact_prefix={folders[0]}/", *folders], one)
    atheris.Fuzz()


def keep(name: str, data: bytes) -> Path:
    """An input that broke the target, kept under its digest for every replay to come."""
    folder = KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"found-{hashlib.sha256(data).hexdigest()[:12]}"
    file.write_bytes(data)
    return file


def resident_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()

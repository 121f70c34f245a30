"""The fuzzers: what all of them found stays mended, and a short run of some finds nothing new. `make fuzz` runs a million."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"
TARGETS = sorted(path.name for path in (FUZZ / "corpus").iterdir())


def test_what_was_found_stays_mended() -> None:
    command = [sys.executable, str(FUZZ / "one.py"), "all", "--replay"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["target"] for line in found] == TARGETS
    assert all(line["inputs"] > 0 for line in found)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_run_of_fuzzers_finds_nothing() -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is missing: it has wheels for Linux on x86-64 only (pip install atheris)")
    command = [sys.executable, str(FUZZ / "run.py"), "--runs", "3000", "--only", "v2_json,grpc,http"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def test_every_fuzzer_is_run_and_has_inputs_to_begin_with() -> None:
    listed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import run, targets; print(sorted(run.SHARES) == sorted(targets.TARGETS), *sorted(targets.TARGETS))",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=FUZZ,
    )
    same, *names = listed.stdout.split()
    assert same == "True"
    assert names == TARGETS

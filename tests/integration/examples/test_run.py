"""`make run`'s script: a prediction for a stored flight whatever port is free, and a second run that only serves."""

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def run_once(folder: Path, port: int) -> str:
    script = [sys.executable, folder / "examples/flights/run.py", "--once", "--port", str(port)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_stored_flight_is_predicted_and_the_second_run_makes_nothing_anew(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    with socket.socket() as taken, socket.socket() as taken_grpc:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with contextlib.suppress(OSError):  # then somebody else holds it, which does as well
            taken_grpc.bind(("127.0.0.1", 8081))
            taken_grpc.listen()
        first = run_once(tmp_path, port)
    assert f"port {port} is taken, using another" in first
    assert re.search(r"port 8081 is taken, using another\n.* --grpc_port \d+\n", first)
    answer = json.loads(first[first.index("\n{\n") : first.index("\n}\n") + 2])
    assert answer["record"]["flight_id"] == "20131223-EV-4131-EWR"
    assert answer["predictions"][0]["label"] == "late"
    assert answer["predictions"][0]["defaulted"] == []
    assert "it came 168 minutes late" in first

    second = run_once(tmp_path, port)
    assert "store and bundle are there" in second
    assert "penstock features" not in second
    assert '"label": "late"' in second
    assert_stays_up_until_interrupted(tmp_path)


def assert_stays_up_until_interrupted(folder: Path) -> None:
    script = [sys.executable, "-u", folder / "examples/flights/run.py", "--port", "0"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        address = ""
        for line in running.stdout:
            if found := re.match(r"  curl (http://\S+/predict/\S+)", line):
                address = found[1]
            if line == "Ctrl-C stops it.\n":
                break
        with urllib.request.urlopen(address, timeout=30) as suggested:
            assert json.load(suggested)["predictions"][0]["label"] in ("late", "on time")
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=5)

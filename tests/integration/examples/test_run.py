"""`make run`'s script: a prediction for a stored flight whatever port is free, and a second run that only serves."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_stored_flight_is_predicted_and_the_second_run_makes_nothing_anew(first_run: Any, run_again: str) -> None:
    first = first_run.text
    assert f"port {first_run.port} is taken, using another" in first
    assert re.search(r"port 8081 is taken, using another\n.* --grpc_port \d+\n", first)
    answer = json.loads(first[first.index("\n{\n") : first.index("\n}\n") + 2])
    assert answer["record"]["flight_id"] == "20131223-EV-4131-EWR"
    assert answer["predictions"][0]["label"] == "late"
    assert answer["predictions"][0]["defaulted"] == []
    assert "it came 168 minutes late" in first

    assert "store and bundle are there" in run_again
    assert "penstock features" not in run_again
    assert '"label": "late"' in run_again
    assert_stays_up_until_interrupted(first_run.folder)


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

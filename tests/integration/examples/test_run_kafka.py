"""`make run-kafka`'s script: kcat writes a request and reads its prediction; a wrong one becomes a dead letter."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.testing.kafka import java
from penstock.testing.programs import ProgramMissing, program
from penstock.testing.servers import ServerMissing

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_request_on_kafka_is_predicted_and_everything_ends_with_ctrl_c(first_run: Any, tmp_path: Path) -> None:
    try:
        java()
        program("kcat")
    except (ServerMissing, ProgramMissing) as missing:
        pytest.skip(str(missing))
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    first_run.give(tmp_path)
    script = [sys.executable, "-u", tmp_path / "examples/flights/run_kafka.py"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        shown = ""
        for line in running.stdout:
            shown += line
            if line.startswith("Ctrl-C"):
                break
        console = re.search(r"http://\S+/console/queues", shown)
        assert console is not None
        assert httpx.get(console[0]).status_code == 200
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
        assert running.wait(60) == 0, shown + rest
    answer = next(json.loads(line) for line in shown.splitlines() if line.startswith('{"model"'))
    assert answer["predictions"][0]["label"] == "late"
    assert "it came 168 minutes late" in shown
    assert re.search(r"headers ce_specversion=1\.0,ce_id=20131223-EV-4131-EWR,ce_source=/models/flights,", shown)
    assert "penstock-reason=invalid_input" in shown
    assert "rows[0].flight_id: there is no record" in shown
    logs = [(tmp_path / f".run/flights/{name}.log").read_text() for name in ("penstock-predictor", "penstock-transformer-worker")]
    assert all('"event":"stopped"' in log for log in logs)

"""Thirty kills of whatever takes part: `make chaos` in small; and the wall clock stepped under all of our programs."""

import subprocess
import sys
from pathlib import Path

import pytest

from penstock.testing.kafka import KafkaServer
from penstock.testing.servers import PostgresServer, ServerMissing

RUN = Path(__file__).resolve().parents[2] / "chaos" / "run.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_in_thirty_kills() -> None:
    try:
        KafkaServer().close()
        PostgresServer().close()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    done = subprocess.run([sys.executable, str(RUN), "--kills", "30"], capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "lost 0, doubled 0, disagreeing 0" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_when_the_wall_clock_is_stepped() -> None:
    try:
        KafkaServer().close()
        PostgresServer().close()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    command = [sys.executable, str(RUN), "--kills", "0", "--clock_steps", "6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "lost 0, doubled 0, disagreeing 0" in done.stdout

"""`make chaos` in small: kills of whatever takes part, with both clients; the wall clock stepped under all of our programs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.testing.kafka import KafkaServer
from penstock.testing.servers import PostgresServer, ServerMissing

RUN = Path(__file__).resolve().parents[2] / "chaos" / "run.py"


@pytest.fixture
def chaos() -> Callable[..., None]:
    """Runs chaos with these arguments; nothing may be lost."""
    try:
        KafkaServer().close()
        PostgresServer().close()
    except ServerMissing as missing:
        pytest.skip(str(missing))

    def run(*arguments: str, until: str = "") -> None:
        command = [sys.executable, str(RUN), *arguments]
        # One pipe for both: one that nobody reads while the other is read would fill up. Its own session ends with all in it.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        ) as running:
            assert running.stdout is not None
            said = ""
            try:
                while until and until not in said and (line := running.stdout.readline()):
                    said += line
                if until:
                    running.send_signal(signal.SIGTERM)
                out, _ = running.communicate(timeout=580)
            except BaseException:
                # The test's own time-out comes here, too: else the `with` would wait for the process, for ever.
                os.killpg(running.pid, signal.SIGKILL)
                raise
        assert running.returncode == 0, (said + out)[-6000:]
        assert "lost 0, doubled 0, disagreeing 0" in out

    return run


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_in_thirty_kills(chaos: Callable[..., None]) -> None:
    chaos("--kills", "30")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_with_confluent_and_what_hangs_is_fenced_and_cancels_hold(chaos: Callable[..., None]) -> None:
    chaos("--kills", "30", "--client", "confluent", "--hangs", "0.3", "--cancels", "0.2")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_when_the_wall_clock_is_stepped(chaos: Callable[..., None]) -> None:
    chaos("--kills", "0", "--clock_steps", "6")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_who_ends_it_early_is_told_what_became_of_all_until_then(chaos: Callable[..., None]) -> None:
    chaos("--kills", "1000", until="10 kills after")

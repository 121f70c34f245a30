"""CI's cluster has a name: what was started under it is found in whichever session, and nothing of anybody else's is touched."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "cluster"
NAME = f"ci-test-{os.getpid()}"
# Says when it runs; ends on SIGTERM unless it is told not to.
PROGRAM = """
import signal, sys
if sys.argv[1:]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(1, flush=True)
signal.pause()
"""


@pytest.fixture
def ownership(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """bed/ownership.py for a run of this name, on a machine without a cluster."""
    monkeypatch.syspath_prepend(str(FOLDER))
    found = importlib.import_module("bed.ownership")
    monkeypatch.setattr(found, "OWNER", NAME)
    monkeypatch.setattr(found, "RUN", tmp_path)
    monkeypatch.setattr(found, "_FILE", tmp_path / "owner")
    monkeypatch.setattr(found, "_STOP_S", 1.0)
    monkeypatch.setattr(found.daemons, "RUN", tmp_path)
    return found


@pytest.fixture
def started() -> Iterator[Any]:
    """Starts a program of an owner in a session of its own, and returns once it runs; ended after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(owner: str, *arguments: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "PENSTOCK_CLUSTER_OWNER": owner}
        command = [sys.executable, "-S", "-c", PROGRAM, *arguments]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True))
        assert running[-1].stdout is not None
        assert running[-1].stdout.readline() == b"1\n"
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_what_runs_under_the_name_is_ended_and_nothing_else(ownership: Any, started: Any) -> None:
    ours, stubborn, anothers = started(NAME), started(NAME, "stays"), started(f"{NAME}1")
    assert sorted(ownership.processes()) == sorted([ours.pid, stubborn.pid])
    ownership.end_processes()
    assert ownership.processes() == []
    assert (ours.wait(10), stubborn.wait(10)) == (-15, -9)
    assert anothers.poll() is None


def test_the_clusters_daemons_are_left_to_be_ended_in_order(ownership: Any, started: Any) -> None:
    daemon, other = started(NAME), started(NAME)
    started_at = ownership.daemons._started_at(daemon.pid)
    (ownership.RUN / "etcd.pid").write_text(f"{daemon.pid} {started_at}")
    # An id that somebody else has by now.
    (ownership.RUN / "kubelet.pid").write_text(f"{other.pid} 1")
    assert ownership.processes() == [other.pid]


def test_whoever_calls_is_spared_and_without_a_name_nobody_is_ended(
    ownership: Any, started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = subprocess.run(
        ["sh", "-c", f"{sys.executable} -c 'from bed import ownership; print(ownership.processes())'; true"],
        env={**os.environ, "PENSTOCK_CLUSTER_OWNER": NAME, "PYTHONPATH": str(FOLDER)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == "[]\n"
    monkeypatch.setattr(ownership, "OWNER", "")
    started("")
    assert ownership.processes() == []


def test_a_cluster_is_ours_by_its_name(ownership: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One made by hand has none."""
    with pytest.raises(Exception, match=r"another's \(made by hand\): make cluster-down ends it"):
        ownership.check()
    ownership.claim()
    ownership.check()
    for other in ("", f"{NAME}1"):
        monkeypatch.setattr(ownership, "OWNER", other)
        with pytest.raises(Exception, match=rf"another's \({NAME}\)"):
            ownership.check()


def test_down_ends_no_other_cluster(ownership: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = importlib.import_module("bed.own")
    ended: list[str] = []
    monkeypatch.setattr(own, "_down", lambda: ended.append(ownership.owner()))
    monkeypatch.setattr(own, "CACHE", ownership.RUN)
    monkeypatch.setattr(own, "_LOCK", ownership.RUN / "lock")
    own.down()
    (ownership.RUN / "owner").write_text("somebody")
    own.down()
    assert ended == []
    ownership.claim()
    own.down()
    monkeypatch.setattr(ownership, "OWNER", "")
    own.down()
    assert ended == [NAME, NAME]

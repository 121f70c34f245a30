"""`make test` installs servers for root on Debian, says so, and touches the system of nobody else."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "tools/get_servers.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script, of whose two servers one is missing, with a list `ran` of the commands that it would have run."""
    spec = importlib.util.spec_from_file_location("get_servers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    ran: list[list[str]] = []

    def run(command: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        ran.append(command)
        if "install" in command:
            assert (tmp_path / "policy-rc.d").read_text() == "#!/bin/sh\nexit 101\n"
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(found, "ran", ran, raising=False)
    monkeypatch.setattr(found, "SERVERS", {"redis-server": lambda: None, "postgresql": lambda: True})
    monkeypatch.setattr(found.subprocess, "run", run)
    monkeypatch.setattr(found, "Path", lambda path: tmp_path / Path(path).name)
    monkeypatch.setattr(sys, "argv", ["get_servers.py"])
    return found


@pytest.mark.parametrize(("user", "apt"), [(1000, "/usr/bin/apt-get"), (0, None)])
def test_others_than_root_on_debian_are_told_and_nothing_is_run(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], user: int, apt: str | None
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr("shutil.which", lambda _: apt)
    script.main()
    assert script.ran == []
    assert capsys.readouterr().out == "not installed: redis-server; what needs them is skipped\n"


def test_root_on_debian_gets_what_is_missing_and_no_server_is_started(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/apt-get")
    script.main()
    update, install = script.ran
    assert update[:2] == ["apt-get", "update"]
    assert install[:2] == ["apt-get", "install"]
    assert install[-1] == "redis-server"
    assert capsys.readouterr().out == "installing with apt-get: redis-server\n"
    assert not (tmp_path / "policy-rc.d").exists()

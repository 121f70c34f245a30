"""CI asks whether a machine can run a cluster: each thing that is missing has its own line, and nothing is left of asking."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "cluster"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """bed/machine.py."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("bed.machine")


def test_the_first_reason_counts_in_one_line_and_no_more_is_tried(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def check(reason: str) -> Any:
        return lambda: asked.append(reason) or reason

    monkeypatch.setattr(machine, "CHECKS", (check(""), check("no mount:\n  refused"), check("no memory")))
    assert machine.why_not() == "no mount: refused"
    assert asked == ["", "no mount:\n  refused"]
    monkeypatch.setattr(machine, "CHECKS", (check(""), check("")))
    assert machine.why_not() == ""


def test_a_check_that_fails_itself_is_a_reason(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise machine.BedError("ip failed\nwith status 1")

    monkeypatch.setattr(machine, "CHECKS", (fail,))
    assert machine.why_not() == "the machine cannot be asked: ip failed with status 1"


def test_rights_come_first(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert machine.why_not() == "it needs root on Linux"


@pytest.mark.parametrize(
    ("busy", "left", "said"),
    [
        (True, [], "another command"),
        (False, ["daemon etcd"], "(daemon etcd)"),
        (
            False,
            ["daemon etcd", "process 1", "mount /a", "mount /b", "mount /c"],
            "(daemon etcd, process 1, mount /a and 2 more)",
        ),
        (False, [], ""),
    ],
)
def test_somebody_elses_cluster_is_left_alone_and_named(
    machine: Any, monkeypatch: pytest.MonkeyPatch, busy: bool, left: Sequence[str], said: str
) -> None:
    monkeypatch.setattr(machine.own, "is_busy", lambda: busy)
    monkeypatch.setattr(machine.own, "remains", lambda: left)
    reason = machine.no_place()
    assert said in reason
    assert bool(reason) == bool(said)


@pytest.mark.parametrize(
    ("apt", "missing", "named"), [("/usr/bin/apt-get", True, False), (None, True, True), (None, False, False)]
)
def test_packages_are_missed_where_they_cannot_be_installed(
    machine: Any, monkeypatch: pytest.MonkeyPatch, apt: str | None, missing: bool, named: bool
) -> None:
    monkeypatch.setattr(machine.own, "missing_packages", lambda: ["containerd"] if missing else [])
    monkeypatch.setattr(machine.shutil, "which", lambda _: apt)
    assert machine.no_packages() == ("missing packages: containerd" if named else "")


def test_namespaces_are_tried_where_containerd_will_be(machine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "CACHE", tmp_path / "kube")

    def refuse(command: Sequence[str], *, directory: Path, timeout_s: float) -> str:
        assert command[0] == "unshare"
        assert directory.parent == tmp_path / "kube"
        raise machine.BedError("unshare failed: Operation not permitted")

    monkeypatch.setattr(machine, "run", refuse)
    assert machine.no_namespaces().endswith("Operation not permitted")
    monkeypatch.setattr(machine, "run", lambda *_, **__: "")
    assert machine.no_namespaces() == ""
    assert list((tmp_path / "kube").iterdir()) == []


def test_cgroups_of_the_first_kind(machine: Any, tmp_path: Path) -> None:
    for name in machine.CONTROLLERS_V1[1:]:
        (tmp_path / name).mkdir()
    assert machine.no_cgroups(tmp_path) == "cgroups without cpu"
    (tmp_path / "cpu").mkdir()
    assert machine.no_cgroups(tmp_path) == ""
    assert [list((tmp_path / name).iterdir()) for name in machine.CONTROLLERS_V1] == [[]] * len(machine.CONTROLLERS_V1)


def test_a_cgroup_that_cannot_be_made_is_named(machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in machine.CONTROLLERS_V1:
        (tmp_path / name).mkdir()

    def refuse(path: Path, **_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(machine.Path, "mkdir", refuse)
    assert machine.no_cgroups(tmp_path) == f"no cgroup can be made in {tmp_path / 'cpu'}: Read-only file system"


@pytest.mark.parametrize(
    ("controllers", "is_real_root", "processes", "said"),
    [
        ("cpuset cpu io memory pids", True, "1\n2\n", ""),
        ("cpuset cpu io memory pids", False, "", ""),
        ("cpuset cpu io memory pids", False, "1\n", "has processes"),
        ("cpuset cpu io", True, "", "cgroups without memory, pids"),
    ],
)
def test_cgroups_of_the_second_kind(
    machine: Any, tmp_path: Path, controllers: str, is_real_root: bool, processes: str, said: str
) -> None:
    """Only the real root, which has no type, hands controllers on beside processes of its own."""
    (tmp_path / "cgroup.controllers").write_text(controllers)
    (tmp_path / "cgroup.procs").write_text(processes)
    if not is_real_root:
        (tmp_path / "cgroup.type").write_text("domain\n")
    reason = machine.no_cgroups(tmp_path)
    assert said in reason
    assert bool(reason) == bool(said)
    assert not any(path.is_dir() for path in tmp_path.iterdir())


@pytest.mark.parametrize(("free_kib", "named"), [(4 * 2**20, False), (4 * 2**20 - 1, True)])
def test_memory(machine: Any, tmp_path: Path, free_kib: int, named: bool) -> None:
    file = tmp_path / "meminfo"
    file.write_text(f"MemTotal:       8000000 kB\nMemAvailable:   {free_kib} kB\n")
    assert bool(machine.no_memory(file)) == named

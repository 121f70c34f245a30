"""CPU limits as containers see them: cgroup v1 and v2, nested groups, and paths of the host that do not exist inside."""

import os
from pathlib import Path

import pytest

from penstock.cpus import cpu_limit


@pytest.fixture(autouse=True)
def _many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def limit(root: Path, groups: str) -> int:
    write(root / "proc", groups)
    return cpu_limit(root / "fs", root / "proc")


def test_v2_quota_is_rounded_up(tmp_path: Path) -> None:
    write(tmp_path / "fs/cpu.max", "150000 100000\n")
    assert limit(tmp_path, "0::/\n") == 2


def test_v2_without_a_limit_is_the_affinity(tmp_path: Path) -> None:
    write(tmp_path / "fs/cpu.max", "max 100000\n")
    assert limit(tmp_path, "0::/\n") == 16


def test_v2_takes_the_tightest_level(tmp_path: Path) -> None:
    write(tmp_path / "fs/pod/cpu.max", "300000 100000\n")
    write(tmp_path / "fs/pod/box/cpu.max", "800000 100000\n")
    assert limit(tmp_path, "0::/pod/box\n") == 3


def test_v2_path_of_the_host_falls_back_to_the_root(tmp_path: Path) -> None:
    write(tmp_path / "fs/cpu.max", "400000 100000\n")
    assert limit(tmp_path, "0::/kubepods/burstable/pod1/abc\n") == 4


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_v1_quota(tmp_path: Path, controllers: str) -> None:
    write(tmp_path / f"fs/{controllers}/cpu.cfs_quota_us", "50000\n")
    write(tmp_path / f"fs/{controllers}/cpu.cfs_period_us", "100000\n")
    assert limit(tmp_path, f"3:{controllers}:/docker/abc\n2:memory:/\n") == 1


def test_v1_without_a_limit(tmp_path: Path) -> None:
    write(tmp_path / "fs/cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "fs/cpu/cpu.cfs_period_us", "100000\n")
    assert limit(tmp_path, "3:cpu:/\n") == 16


def test_nonsense_and_nothing_at_all_are_no_limit(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path / "none", tmp_path / "neither") == 16
    write(tmp_path / "fs/cpu.max", "many few\n")
    assert limit(tmp_path, "0::/\nbroken line\n") == 16

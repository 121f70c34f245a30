"""A writer whose disk fails it, or whose neighbour begins: nothing that it was given is lost, and nothing stands there twice."""

import errno
import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from penstock_transformer.feedback import parquet
from penstock_transformer.feedback.folder import OUTCOMES, LogFolder, day_of
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.reporting import Told
from penstock_transformer.feedback.writer import FolderWriter

DAY_S = 86_400.0


class Disk:
    """Refuses Parquet files whose path holds any of `refused`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused: set[str] = set()
        self._write = parquet.write_part
        monkeypatch.setattr(parquet, "write_part", self.write)

    def write(self, path: Path, rows: Sequence[Any]) -> None:
        for part in sorted(self.refused):
            if part in str(path):
                raise OSError(errno.ENOSPC, part)
        self._write(path, rows)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def report(writer: FolderWriter, model: str, identity: str, received: float | None = None) -> None:
    received = time.time() if received is None else received
    writer.report([Told(model, Outcome(identity, 0, 1.0, "late", received=received))])


def written(root: Path, model: str) -> list[str]:
    """The ids in its Parquet files, as often as they stand there."""
    files = LogFolder(root, model).path.glob(f"{OUTCOMES}/*/*.parquet")
    return sorted(identity for path in files for identity in pq.ParquetFile(path).read().column("id").to_pylist())


def test_a_file_that_cannot_be_converted_holds_up_no_other_and_is_tried_again(tmp_path: Path, disk: Disk) -> None:
    writer = FolderWriter(tmp_path)
    disk.refused = {"/one/", "/two/"}
    for model in ("one", "two", "three"):
        report(writer, model, "1")
    with pytest.raises(OSError, match="one"):
        writer.roll()
    assert [written(tmp_path, model) for model in ("one", "two", "three")] == [[], [], ["1"]]
    disk.refused = {"/two/"}
    with pytest.raises(OSError, match="two"):
        writer.roll()
    disk.refused = set()
    writer.close()
    assert [written(tmp_path, model) for model in ("one", "two", "three")] == [["1"], ["1"], ["1"]]
    assert not list(tmp_path.rglob("*.jsonl"))


def test_what_a_failed_file_waits_for_is_nobody_elses_to_finish(tmp_path: Path, disk: Disk) -> None:
    writer, other = FolderWriter(tmp_path), FolderWriter(tmp_path)
    disk.refused = {"/one/"}
    report(writer, "one", "1")
    with pytest.raises(OSError, match="one"):
        writer.roll()
    disk.refused = set()
    other.start()
    assert written(tmp_path, "one") == []
    writer.close()
    assert written(tmp_path, "one") == ["1"]


def test_a_disk_that_stays_full_makes_no_more_than_two_files_wait_of_a_kind(tmp_path: Path, disk: Disk) -> None:
    writer = FolderWriter(tmp_path)
    disk.refused = {"/one/"}
    for number in range(5):
        report(writer, "one", str(number))
        with pytest.raises(OSError, match="one"):
            writer.roll()
    assert len(list(tmp_path.rglob("*.jsonl"))) == 2
    disk.refused = set()
    writer.close()
    assert written(tmp_path, "one") == ["0", "1", "2", "3", "4"]
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_file_of_which_only_one_day_can_be_written_is_not_written_twice(tmp_path: Path, disk: Disk) -> None:
    writer = FolderWriter(tmp_path)
    now_s = time.time()
    report(writer, "one", "old", now_s - DAY_S)
    report(writer, "one", "new", now_s)
    disk.refused = {f"day={day_of(now_s)}"}
    for _ in range(2):
        with pytest.raises(OSError, match="day="):
            writer.roll()
    disk.refused = set()
    writer.close()
    assert written(tmp_path, "one") == ["new", "old"]


def test_a_parquet_file_that_the_disk_does_not_take_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = FolderWriter(tmp_path)
    report(writer, "one", "1")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="full"):
            writer.roll()
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".jsonl"]
    writer.close()
    assert written(tmp_path, "one") == ["1"]


def test_a_file_that_somebody_has_removed_is_not_looked_for_again(tmp_path: Path) -> None:
    writer = FolderWriter(tmp_path)
    report(writer, "one", "1")
    (path,) = tmp_path.rglob("*.jsonl")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        writer.roll()
    writer.close()


def test_an_outcome_is_kept_that_is_told_while_another_finishes_what_writers_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other finds the new file before its writer has the lock, takes it for one that was left, and removes it as empty."""
    writer, others = FolderWriter(tmp_path), [FolderWriter(tmp_path), FolderWriter(tmp_path)]
    lock = fcntl.flock

    def after_another(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX and others:
            others.pop().start()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", after_another)
    report(writer, "one", "1")
    assert [identity for identity, _ in LogFolder(tmp_path, "one").outcomes()] == ["1"]
    assert others == []
    writer.close()
    assert written(tmp_path, "one") == ["1"]

"""What a log's folder is rid of in time, where lines become Parquet files and where nothing can make them."""

import fcntl
import os
import sys
import time
from pathlib import Path

import pytest

from penstock_transformer.feedback.document import LoggedRequest, LoggedRow, write_request
from penstock_transformer.feedback.folder import LogFolder
from penstock_transformer.feedback.keeping import LogKeeper
from penstock_transformer.feedback.log import Entry
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.reporting import Told

DAY_S = 86_400.0
KEEP_S = 30 * DAY_S


def write(keeper: LogKeeper, model: str, identity: str) -> None:
    """A line of each kind, which roll as they would in time."""
    now_s = time.time()
    logged = LoggedRequest(identity, now_s, model, "sha256:1", "n", "1", 1.0, [LoggedRow({}, {}, {"value": 1.0})])
    keeper.write([Entry(model, identity, "n@1", write_request(logged))])
    keeper.report([Told(model, Outcome(identity, 0, 1.0, "late", received=now_s))])


def lines(root: Path, model: str) -> list[Path]:
    return sorted(LogFolder(root, model).path.glob("*/*.jsonl"))


def age(paths: list[Path], now_s: float, days: float) -> None:
    for path in paths:
        os.utime(path, (now_s - days * DAY_S,) * 2)


def test_lines_that_nothing_can_make_parquet_of_go_when_they_are_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    keeper, now_s = LogKeeper(tmp_path, KEEP_S), time.time()
    write(keeper, "m", "old")
    keeper.writer.roll()
    old = lines(tmp_path, "m")
    age(old, now_s, 32)
    write(keeper, "m", "new")
    keeper.writer.roll()
    assert len(lines(tmp_path, "m")) == 4
    keeper.tidy(now_s)
    left = lines(tmp_path, "m")
    assert (len(left), set(left) & set(old)) == (2, set())


def test_a_model_whose_parquet_files_cannot_be_read_here_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, now_s = LogKeeper(tmp_path, KEEP_S, wait_s=0.0), time.time()
    keeper.writer.add("a", [], [Outcome("1", 0, 1.0, "late", received=now_s)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    write(keeper, "b", "old")
    keeper.writer.roll()
    age(lines(tmp_path, "b"), now_s, 32)
    keeper.tidy(now_s + 1)
    assert lines(tmp_path, "b") == []


def test_an_open_file_goes_with_its_age_unless_somebody_holds_it(tmp_path: Path) -> None:
    keeper, now_s = LogKeeper(tmp_path, KEEP_S), time.time()
    write(keeper, "m", "mine")
    held, orphan = (tmp_path / "m" / "predictions" / f"open-{name}.jsonl" for name in ("held", "orphan"))
    orphan.write_bytes(b"{}\n")
    with held.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        mine = [path for path in lines(tmp_path, "m") if path not in (held, orphan)]
        age(lines(tmp_path, "m"), now_s, 32)
        keeper.tidy(now_s)
        assert lines(tmp_path, "m") == sorted([*mine, held])
    keeper.close()


def test_an_outcome_in_lines_stays_as_long_as_its_predictions_parquet_file(tmp_path: Path) -> None:
    """Files of a day go together, so a line from its morning does not go before a row from its evening."""
    noon_s = time.time() // DAY_S * DAY_S + DAY_S / 2
    keeper = LogKeeper(tmp_path, KEEP_S)
    path = tmp_path / "m" / "outcomes" / "1.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{}\n")
    age([path], noon_s - DAY_S / 4, 30)
    keeper.tidy(noon_s)
    assert path.exists()
    keeper.tidy(noon_s + DAY_S)
    assert not path.exists()

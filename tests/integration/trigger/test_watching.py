"""Logs in folders: which bundle is judged, what is remembered, and who asks whom when something breaks in between."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from penstock_cli.__main__ import penstock
from penstock_transformer.feedback.folder import LogFolder
from penstock_transformer.feedback.trigger import turn
from penstock_transformer.feedback.trigger.asking import open_asker
from penstock_transformer.feedback.trigger.bounds import open_watch
from penstock_transformer.feedback.trigger.memory_file import MemoryFile
from penstock_transformer.feedback.trigger.program import turn_once
from penstock_transformer.feedback.trigger.settings import TriggerSettings
from penstock_transformer.feedback.trigger.turn import Watcher

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD, NEW = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"

LogRows = Callable[..., None]


class Site:
    """A log, and a watch file over it: an accuracy of at least 0.7 over the last hour, windows that end every second."""

    def __init__(self, folder: Path, url: str, **more: Any) -> None:
        self.log = folder / "log"
        self.file = folder / "watch.yaml"
        document = {
            "model": "flights", "window": "1h", "every": "1s", "leastRows": 20, "coolDown": "1h",
            "quality": {"accuracy": {"least": 0.7}}, "action": {"webhook": url},
        }  # fmt: skip
        self.file.write_text(json.dumps(document | more))

    def settings(self, **changes: Any) -> TriggerSettings:
        usual: dict[str, Any] = {"webhook_secret": SECRET, "webhook_first_retry_s": 0.0}
        return TriggerSettings(log_dir=str(self.log), watch=(str(self.file),), **(usual | changes))

    @contextmanager
    def watcher(self) -> Iterator[Watcher]:
        watch = open_watch(self.file)
        watcher = Watcher(self.log, watch, open_asker(watch, self.settings()))
        yield watcher
        watcher.close()

    def turn(self) -> Watcher:
        """One turn of a watcher that remembers nothing but what is in the folder."""
        with self.watcher() as watcher:
            asyncio.run(watcher.turn())
        return watcher

    def pass_windows(self) -> None:
        """As if nothing had been judged yet: what comes is a new window."""
        path = MemoryFile(LogFolder(self.log, "flights")).path
        document = json.loads(path.read_text())
        document.pop("judged", None)
        path.write_text(json.dumps(document))


def test_a_bundle_that_is_wrong_is_told_of_once(receiver: Any, tmp_path: Path, log_rows: LogRows) -> None:
    site = Site(tmp_path, receiver.url)
    log_rows(site.log, OLD, 40, right=False)
    watcher = site.turn()
    assert watcher.fault is None
    (told,) = receiver.received
    event = json.loads(told.body)
    assert (event["data"]["digest"], event["data"]["rows"], event["data"]["outcomes"]) == (OLD, 40, 40)
    assert told.headers["webhook-id"] == event["id"] == event["data"]["id"]
    site.pass_windows()
    assert site.turn().memory.state(0, 0) == "under_way"
    assert len(receiver.received) == 1


@pytest.mark.parametrize("right, rows, note", [(True, 40, ""), (False, 10, "10 rows of")])
def test_a_good_bundle_and_too_few_rows_ask_for_nothing(
    receiver: Any, tmp_path: Path, log_rows: LogRows, right: bool, rows: int, note: str
) -> None:
    site = Site(tmp_path, receiver.url)
    log_rows(site.log, OLD, rows, right=right)
    look = site.turn().look
    assert look is not None
    assert look.note.startswith(note)
    assert bool(look.note) == bool(note)
    assert receiver.received == []


def test_judged_is_the_bundle_that_answers_now_by_its_own_rows(receiver: Any, tmp_path: Path, log_rows: LogRows) -> None:
    site = Site(tmp_path, receiver.url, every="10s")
    log_rows(site.log, OLD, 60, right=False, ago_s=1000)
    # A shadow answers nobody, however good or bad it is.
    log_rows(site.log, f"sha256:{'c' * 64}", 200, right=False, ago_s=15, shadow=True)
    log_rows(site.log, NEW, 40, right=True, ago_s=15)
    look = site.turn().look
    assert look is not None
    assert (look.bundle, look.rows, look.outcomes, look.passed) == (NEW, 40, 40, ())
    assert receiver.received == []


def test_another_bundle_that_answers_ends_the_retraining(receiver: Any, tmp_path: Path, log_rows: LogRows) -> None:
    site = Site(tmp_path, receiver.url, every="10s")
    log_rows(site.log, OLD, 40, right=False, ago_s=100)
    site.turn()
    log_rows(site.log, NEW, 40, right=False, ago_s=0.1)
    site.pass_windows()
    memory = site.turn().memory
    assert memory.retraining is not None
    assert (memory.retraining.bundle, memory.retraining.ending) == (OLD, "replaced")
    # The new one is as bad, but it cools down first.
    site.pass_windows()
    assert site.turn().memory.retraining == memory.retraining
    assert len(receiver.received) == 1


def test_a_receiver_that_is_away_is_asked_again_with_the_same_bytes(receiver: Any, tmp_path: Path, log_rows: LogRows) -> None:
    site = Site(tmp_path, receiver.url, action={"webhook": receiver.url, "mode": "plain"})
    receiver.statuses = [503]
    log_rows(site.log, OLD, 40, right=False)
    first = site.turn().memory.retraining
    assert first is not None
    assert (first.attempts, first.fault, first.accepted_s) == (1, "status 503", None)
    second = site.turn().memory.retraining
    assert second is not None
    assert (second.id, second.attempts, second.accepted_s is None) == (first.id, 2, False)
    one, other = receiver.received
    assert one.body == other.body
    assert one.headers["webhook-id"] == other.headers["webhook-id"] == first.id
    assert one.headers["content-type"] == "application/json"


def test_whoever_dies_behind_the_question_asks_again_by_the_same_id(
    receiver: Any, tmp_path: Path, log_rows: LogRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(name: str) -> None:
        raise RuntimeError(name)

    site = Site(tmp_path, receiver.url)
    log_rows(site.log, OLD, 40, right=False)
    monkeypatch.setattr(turn, "failpoint", die)
    with pytest.raises(RuntimeError, match=r"trigger\.asked"):
        site.turn()
    monkeypatch.undo()
    site.turn()
    one, other = receiver.received
    assert (one.body, one.headers["webhook-id"]) == (other.body, other.headers["webhook-id"])


def test_one_watcher_at_a_time(receiver: Any, tmp_path: Path, log_rows: LogRows) -> None:
    site = Site(tmp_path, receiver.url)
    log_rows(site.log, OLD, 40, right=False)
    with MemoryFile(LogFolder(site.log, "flights")).held():
        watcher = site.turn()
        assert (watcher.fault, watcher.look) == (None, None)
    assert receiver.received == []
    site.turn()
    assert len(receiver.received) == 1


def test_a_memory_that_cannot_be_read_is_a_fault_that_names_it(receiver: Any, tmp_path: Path, log_rows: LogRows) -> None:
    site = Site(tmp_path, receiver.url)
    log_rows(site.log, OLD, 40, right=False)
    MemoryFile(LogFolder(site.log, "flights")).path.write_text("{")
    fault = site.turn().fault
    assert fault is not None
    assert "retraining.json: cannot be read" in fault
    assert receiver.received == []


def test_once_says_what_cannot_be_carried_out(receiver: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path, "ftp://nowhere/")
    assert turn_once(site.settings()) == 1
    assert "webhook: expected https://" in capsys.readouterr().err
    site = Site(tmp_path, receiver.url)
    assert turn_once(site.settings(webhook_secret="")) == 1
    assert "--webhook_secret" in capsys.readouterr().err
    site = Site(tmp_path, receiver.url)
    # A log that nobody has written to yet is no fault.
    assert turn_once(site.settings()) == 0


def test_by_hand_it_tells_and_asks_nobody(receiver: Any, tmp_path: Path, log_rows: LogRows) -> None:
    site = Site(tmp_path, receiver.url)

    def watch(*options: str) -> tuple[int, str]:
        found = CliRunner().invoke(penstock, ["feedback", "watch", str(site.log), str(site.file), *options])
        return found.exit_code, found.output

    log_rows(site.log, OLD, 40, right=False, ago_s=600)
    status, said = watch()
    assert (status, "accuracy 0, at least 0.7 is asked for: passed" in said) == (3, True), said
    status, said = watch("--at", "2020-01-31T12:00:00Z", "--json")
    assert (status, json.loads(said)["note"]) == (4, "the log has no rows of it")
    log_rows(site.log, NEW, 40, right=True)
    status, said = watch()
    assert (status, "held" in said) == (0, True), said
    assert receiver.received == []


SPEC = """\
formatVersion: 1
features:
- {name: distance, from: request, type: float64, missing: reject, encode: [log1p]}
tensors: {x: [distance]}
"""


def test_rows_with_outcomes_come_out_as_a_table(tmp_path: Path, log_rows: LogRows) -> None:
    log, spec, out = tmp_path / "log", tmp_path / "features.yaml", tmp_path / "rows.parquet"
    spec.write_text(SPEC)
    log_rows(log, OLD, 6, right=True, ago_s=600, distance=2.5)
    log_rows(log, NEW, 4, right=False, ago_s=60)
    # What a shadow answered is the same row again.
    log_rows(log, NEW, 9, right=False, ago_s=30, shadow=True)
    found = CliRunner().invoke(penstock, ["feedback", "training-set", str(log), "--spec", str(spec), "--out", str(out)])
    assert (found.exit_code, "10 rows" in found.output) == (0, True), found.output
    frame = pd.read_parquet(out)
    assert list(frame.columns) == ["distance", "_outcome", "_weight", "_time", "_id", "_row"]
    assert frame["distance"].tolist() == [2.5] * 6 + [1.0] * 4
    assert frame["_outcome"].value_counts().to_dict() == {"late": 5, "on time": 5}
    table = tmp_path / "rows.csv"
    arguments = ["feedback", "training-set", str(log), "--spec", str(spec), "--out", str(table), "--limit", "3"]
    assert CliRunner().invoke(penstock, arguments).exit_code == 0
    assert len(pd.read_csv(table)) == 3
    nothing = CliRunner().invoke(penstock, [*arguments, "--until", "2020-01-31"])
    assert (nothing.exit_code, "no row with an outcome" in nothing.output) == (1, True)

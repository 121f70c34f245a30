"""What sinks tell of one folder: the same whichever is asked and however often it starts anew, and as outcomes are now."""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from penstock.errors import InvalidInput
from penstock.evidence.quality import LogQuality, entries_of
from penstock.serving.admin import AdminRoutes
from penstock.testing.prediction_log import write_prediction_log
from penstock.testing.waiting import until
from penstock_transformer.feedback import parquet
from penstock_transformer.feedback.deleting import delete
from penstock_transformer.feedback.folder import OUTCOMES, PREDICTIONS, LogFolder
from penstock_transformer.feedback.keeping import LogKeeper
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.row import LogRow
from penstock_transformer.feedback.sink.bounds import Bounds
from penstock_transformer.feedback.sink.judging import Judging
from penstock_transformer.feedback.sink.log_window import LogWindow
from penstock_transformer.feedback.sink.program import LogSinkPart
from penstock_transformer.feedback.sink.settings import LogSinkSettings

DAY_S = 86_400.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_prediction_log(tmp_path / "log", labelled="flights", numbers="trips")
    LogKeeper(tmp_path / "log", None).start()
    return tmp_path / "log"


def told(root: Path, model: str = "flights") -> LogQuality:
    """What a sink says that has just started."""
    judging = Judging(root, DAY_S, Bounds())
    assert judging.document(model).logs == []
    judging.judge()
    (log,) = judging.document(model).logs
    return log


def right(log: LogQuality) -> dict[bool, tuple[int, float]]:
    """Rows and right ones of the bundle that answers and of the shadow."""
    return {entry.shadow: (entry.sums.rows, entry.sums.right) for entry in log.entries}


def test_every_sink_of_a_folder_tells_the_same_and_readers_do_not_add_them_up(root: Path) -> None:
    first, second = told(root), told(root)
    assert right(first) == right(second) == {False: (3, 2.0), True: (3, 2.0)}
    assert first.incarnation == second.incarnation
    judging = Judging(root, DAY_S, Bounds())
    judging.judge()
    both = [judging.document("flights"), judging.document("flights")]
    assert [entry.sums.rows for entry in entries_of(both)] == [3, 3]
    assert {entry.revision for entry in first.entries} == {1}
    (numbers,) = [entry.sums for entry in told(root, "trips").entries if not entry.shadow]
    assert numbers.rows == 4
    assert numbers.error == pytest.approx(0.4)


def test_a_corrected_outcome_moves_its_row_and_a_deleted_request_goes(root: Path) -> None:
    keeper, now_s = LogKeeper(root, None), time.time()
    keeper.writer.add("flights", [], [Outcome("flights-1-False", 0, now_s + 5, "on time", received=now_s)])
    assert right(told(root)) == {False: (3, 3.0), True: (3, 2.0)}
    delete(LogFolder(root, "flights"), "id", "flights-0-False")
    assert right(told(root)) == {False: (2, 2.0), True: (3, 2.0)}


def days_old(root: Path, days: float) -> list[LogRow]:
    """The rows of the bundle that answers, moved so many days back; nothing else is in the log any more."""
    folder = LogFolder(root, "flights")
    rows = [row._replace(clock=row.clock - days * DAY_S) for row in folder.rows() if not row.shadow]
    for path in (*folder.parts(PREDICTIONS), *folder.parts(OUTCOMES)):
        path.unlink()
    return rows


def outcome(row: LogRow, label: str = "late", **times: float) -> Outcome:
    now_s = time.time()
    return Outcome(row.id, row.row, times.get("time", now_s), label, received=times.get("received", now_s))


def test_outcomes_that_come_three_days_late_count(root: Path) -> None:
    rows = days_old(root, 3.0)
    LogKeeper(root, None).writer.add("flights", rows, [outcome(row) for row in rows])
    judging = LogSinkPart(LogSinkSettings(kafka_bootstrap="none:1", log_dir=str(root))).judging
    judging.judge()
    assert right(judging.document("flights").logs[0]) == {False: (4, 2.0)}
    samples = {
        sample.name: sample for family in judging.families() for sample in family.samples if "measure" not in sample.labels
    }
    assert samples["penstock_quality_rows"].value == 4
    assert samples["penstock_quality_window_seconds"].value == pytest.approx(7 * DAY_S)


def test_a_file_is_read_once_and_again_when_it_has_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = days_old(root, 0.0)
    keeper, folder = LogKeeper(root, None), LogFolder(root, "flights")
    keeper.writer.add("flights", rows[:3], [outcome(row) for row in rows[:2]])
    read: list[str] = []

    def watch(name: str) -> None:
        real = getattr(parquet, name)

        def seen(path: Path, **how: Any) -> Any:
            read.append(path.parent.parent.name)
            return real(path, **how)

        monkeypatch.setattr(parquet, name, seen)

    watch("read_rows")
    watch("read_outcomes")
    window, now_s = LogWindow(folder, 100), time.time()

    def files() -> list[str]:
        """What is read for one look, which sees what the folder has."""
        read.clear()
        found = window.look(now_s - DAY_S, now_s)
        files = sorted(read)
        assert {row.id for row in found.rows} == {row.id for row in folder.rows()}
        assert found.outcomes == folder.outcomes()
        return files

    assert files() == [OUTCOMES, PREDICTIONS]
    assert files() == []
    keeper.writer.add("flights", [], [outcome(rows[2])])
    assert files() == [OUTCOMES]
    keeper.writer.add("flights", rows[3:], [])
    assert files() == [PREDICTIONS]
    delete(folder, "id", rows[0].id)
    assert files() == [OUTCOMES, PREDICTIONS]
    assert len(list(folder.rows())) == 3


def test_an_outcome_counts_once_its_row_is_there_and_a_corrected_one_as_it_is(root: Path) -> None:
    rows = days_old(root, 0.0)
    keeper, judging = LogKeeper(root, None), Judging(root, DAY_S, Bounds())
    for row in rows:
        keeper.writer.add("flights", [], [outcome(row)])
    judging.judge()
    assert judging.document("flights").logs[0].entries == []
    keeper.writer.add("flights", rows, [])
    # At the latest when the files are twice as old as when they were read.
    until(lambda: judging.judge() or judging.document("flights").logs[0].entries, 30.0, "the outcomes' rows")
    until(lambda: judging.judge() or right(judging.document("flights").logs[0]) == {False: (4, 2.0)}, 30.0, "all of them")
    keeper.writer.add("flights", [], [outcome(rows[0], "on time", time=time.time() + 5)])
    judging.judge()
    assert right(judging.document("flights").logs[0]) == {False: (4, 3.0)}


def test_of_more_rows_than_there_is_room_for_the_newest_count_and_it_is_said_since_when(root: Path) -> None:
    rows = days_old(root, 0.0)
    rows = [row._replace(clock=row.clock - 60.0 * at) for at, row in enumerate(rows)]
    keeper = LogKeeper(root, None)
    for row in reversed(rows):
        keeper.writer.add("flights", [row], [outcome(row)])
    judging = Judging(root, DAY_S, Bounds(), most_rows=2)
    for _ in range(2):
        judging.judge()
        (log,) = judging.document("flights").logs
        assert right(log)[False][0] == 2
        assert log.since_s == rows[1].clock
        (window,) = [family for family in judging.families() if family.name == "penstock_quality_window_seconds"]
        assert window.samples[0].value == pytest.approx(log.as_of_s - rows[1].clock)


def test_files_of_an_earlier_release_are_read(root: Path) -> None:
    for path in (root / "flights" / PREDICTIONS).glob("day=*/*.parquet"):
        table = pq.ParquetFile(path).read()
        pq.write_table(table.drop_columns(["revision", "costs"]), path)
    log = told(root)
    assert right(log) == {False: (3, 2.0), True: (3, 2.0)}
    # Nobody knows which route chose for them: no rollout goes by them.
    assert {(entry.revision, entry.sums.costed) for entry in log.entries} == {(None, 0.0)}


def test_a_folder_without_a_log_and_a_window_without_rows_tell_nothing(tmp_path: Path, root: Path) -> None:
    empty = Judging(tmp_path / "none", DAY_S, Bounds())
    empty.judge()
    assert empty.document("flights").logs == []
    brief = Judging(root, 1.0, Bounds())
    brief.judge()
    assert brief.document("flights").logs[0].entries == []


async def _answers(judging: Judging, **arguments: str) -> object:
    routes = AdminRoutes()
    judging.add_to(routes)
    return await routes.answer({"method": "GET", "path": "/quality", "arguments": arguments})


def test_the_admin_port_asks_for_a_model(root: Path) -> None:
    judging = Judging(root, DAY_S, Bounds())
    judging.judge()
    assert asyncio.run(_answers(judging, model="flights")) == msgspec.to_builtins(judging.document("flights"))
    with pytest.raises(InvalidInput, match="model"):
        asyncio.run(_answers(judging))

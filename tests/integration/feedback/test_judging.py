"""What sinks tell of one folder: the same whichever is asked and however often it starts anew, and as outcomes are now."""

import asyncio
import time
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from penstock.errors import InvalidInput
from penstock.evidence.quality import LogQuality, entries_of
from penstock.serving.admin import AdminRoutes
from penstock.testing.prediction_log import write_prediction_log
from penstock_transformer.feedback.deleting import delete
from penstock_transformer.feedback.folder import PREDICTIONS, LogFolder
from penstock_transformer.feedback.keeping import LogKeeper
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.sink.bounds import Bounds
from penstock_transformer.feedback.sink.judging import Judging

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

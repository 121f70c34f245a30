"""Deletion out of a log: what a record's rows say is gone from the files, and stays gone.

    delete --> deleted.jsonl --> every Parquet file that holds such a row is written anew without it

Invariant: the deletion is on the disk before the first file is touched: a command that was killed is simply run again.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from penstock_transformer.feedback import parquet
from penstock_transformer.feedback.deletions import OUTCOME, RECORD, Deleted, row_identity
from penstock_transformer.feedback.folder import OUTCOMES, PREDICTIONS, LogFolder
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.row import LogRow


def delete(folder: LogFolder, kind: str, identity: str, *, until_s: float | None = None) -> int:
    """Remove the rows of a record (`record`) or of a prediction (`id`), with their outcomes; how many rows that were. What is on
    its way into the log, or in a writer's open file, is covered too. `until_s`: rows whose clock is later stay; now, if None."""
    until_s = time.time() if until_s is None else until_s
    if kind == RECORD:
        # By their rows: other rows of the same requests may be about other records.
        rows = {row_identity(row.id, row.row) for row in folder.rows() if row.record == identity and row.clock <= until_s}
        folder.deletions.add(OUTCOME, rows, until_s)
    folder.deletions.add(kind, [identity], until_s)
    removed = 0
    deleted = folder.deletions.read()
    for path in folder.parts(PREDICTIONS):
        if path.suffix == ".parquet":
            removed += _without(path, deleted)
    for path in folder.parts(OUTCOMES):
        if path.suffix == ".parquet":
            outcomes = parquet.read_outcomes(path)
            _replace(path, outcomes, [outcome for outcome in outcomes if not deleted.covers_outcome(outcome)])
    return removed


def _without(path: Path, deleted: Deleted) -> int:
    rows = parquet.read_rows(path)
    staying = [row for row in rows if not deleted.covers(row)]
    _replace(path, rows, staying)
    return len(rows) - len(staying)


def _replace(path: Path, old: Sequence[LogRow] | Sequence[Outcome], new: Sequence[LogRow] | Sequence[Outcome]) -> None:
    if len(new) == len(old):
        return
    if new:
        parquet.write_part(path, new)
    else:
        path.unlink()

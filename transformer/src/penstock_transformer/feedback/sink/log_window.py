"""The last days of one model's log, kept from pass to pass: rows, and the outcomes that are known of them.

    parts of the folder --those that are new or changed--> rows, outcomes --look--> Seen

Outcomes come days after their rows, so the window is long, and most of it is as it was at the pass before: a file is read when it
comes and when it has changed. An outcome may be there before its row: a file that has outcomes of no row that is known is read
again whenever it has become twice as old, some ten times until they are settled.

Invariant: what is held is bounded by `most_rows`, however long the window; of more rows the newest stay, and it is said since
when they are. Within that, what is seen is what `LogFolder` reads.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from penstock_transformer.feedback import parquet
from penstock_transformer.feedback.deletions import Deleted
from penstock_transformer.feedback.folder import OUTCOMES, PREDICTIONS, LogFolder, logged, read_lines, told
from penstock_transformer.feedback.keeping import WAIT_S
from penstock_transformer.feedback.outcome import Outcome, newer
from penstock_transformer.feedback.row import LogRow

_LISTINGS = 5
"""In one pass, of a folder whose files become others meanwhile."""
_TELLINGS = 4
"""Outcomes that are held for each row, corrections among them."""
_SHARED = ("model", "bundle", "name", "version", "label", "costs")

T = TypeVar("T")


class Seen(NamedTuple):
    """`rows` predicted from `since_s` (since 1970) on, each once; `outcomes` by id and row. `whole`: the window had room for
    all."""

    rows: list[LogRow]
    outcomes: dict[tuple[str, int], Outcome]
    since_s: float
    whole: bool


@dataclass(frozen=True, slots=True)
class _Part(Generic[T]):
    """What a file said. `stamp` changes with it; `written_s` and `read_s`: when; `strange`: there was more, of rows that were not
    known."""

    found: list[T]
    stamp: tuple[int, int, int]
    written_s: float
    read_s: float
    strange: bool

    def is_due(self, now_s: float) -> bool:
        """Whether it is time to look for their rows again."""
        return self.strange and now_s - self.read_s >= self.read_s - self.written_s


class LogWindow:
    """One model's. Used on one thread at a time."""

    def __init__(self, folder: LogFolder, most_rows: int) -> None:
        self._folder = folder
        self._most_rows = most_rows
        self._rows: dict[Path, _Part[LogRow]] = {}
        self._outcomes: dict[Path, _Part[Outcome]] = {}

    def look(self, since_s: float, now_s: float) -> Seen:
        """What is known now of what was predicted since then. Blocks. Raises OSError, UpstreamUnavailable for a file that cannot
        be read."""
        deleted = self._folder.deletions.read()
        self._rows, whole = self._read(PREDICTIONS, self._rows, since_s, now_s, self._most_rows, _rows_of)
        rows = list(self._each_row(since_s, deleted))
        if not whole and rows:
            rows.sort(key=lambda row: row.clock, reverse=True)
            del rows[self._most_rows :]
            since_s = rows[-1].clock
        # An outcome from before its prediction was known by another clock, or the id was given before.
        first_s, room = max(since_s - WAIT_S, 0.0), _TELLINGS * self._most_rows
        read = _outcomes_of({row.id for row in rows})
        self._outcomes, _ = self._read(OUTCOMES, self._outcomes, first_s, now_s, room, read)
        outcomes: dict[tuple[str, int], Outcome] = {}
        for part in self._outcomes.values():
            for outcome in part.found:
                if not deleted.covers_outcome(outcome):
                    key = (outcome.id, outcome.row)
                    outcomes[key] = newer(outcomes.get(key, outcome), outcome)
        return Seen(rows, outcomes, since_s, whole)

    def _each_row(self, since_s: float, deleted: Deleted) -> Iterator[LogRow]:
        seen: set[tuple[str, int, float, str]] = set()
        for part in self._rows.values():
            for row in part.found:
                key = (row.id, row.row, row.clock, row.bundle)
                if row.clock >= since_s and key not in seen and not deleted.covers(row):
                    seen.add(key)
                    yield row

    def _read(
        self,
        kind: str,
        before: dict[Path, _Part[T]],
        since_s: float,
        now_s: float,
        room: int,
        read: Callable[[Path], tuple[list[T], bool]],
    ) -> tuple[dict[Path, _Part[T]], bool]:
        """Its files, from the newest on while there is room; whether that was all of them."""
        known, held = before, dict[Path, _Part[T]]()
        for _ in range(_LISTINGS):
            held, count, vanished = {}, 0, False
            for path in reversed(self._folder.parts(kind, since_s)):
                if count >= room:
                    return held, False
                try:
                    held[path] = part = _part(path, known.get(path), now_s, read)
                    count += len(part.found)
                except FileNotFoundError:
                    vanished = True
            if not vanished:
                break
            # What was open when it was listed is Parquet by now, under another name.
            known = {**before, **held}
        return held, True


def _part(path: Path, known: _Part[T] | None, now_s: float, read: Callable[[Path], tuple[list[T], bool]]) -> _Part[T]:
    """A file; as it was read before, if it is as it was. Raises FileNotFoundError for one that is gone."""
    status = path.stat()
    stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
    if known is not None and known.stamp == stamp and not known.is_due(now_s):
        return known
    found, strange = read(path)
    return _Part(found, stamp, status.st_mtime, now_s, strange)


def _rows_of(path: Path) -> tuple[list[LogRow], bool]:
    is_closed = path.suffix == ".parquet"
    return [
        _slim(row) for row in (parquet.read_rows(path, whole=False) if is_closed else read_lines(path.read_bytes(), logged))
    ], False


def _slim(row: LogRow) -> LogRow:
    """Without what no measure is of; texts that most rows have stand in memory once."""
    shared: dict[str, Any] = {name: sys.intern(text) for name in _SHARED if (text := getattr(row, name)) is not None}
    return row._replace(request="", fetched="", **shared)


def _outcomes_of(ids: set[str]) -> Callable[[Path], tuple[list[Outcome], bool]]:
    """Reads those of known requests."""

    def read(path: Path) -> tuple[list[Outcome], bool]:
        all_told = parquet.read_outcomes(path) if path.suffix == ".parquet" else list(read_lines(path.read_bytes(), told))
        known = [outcome for outcome in all_told if outcome.id in ids]
        return known, len(known) < len(all_told)

    return read

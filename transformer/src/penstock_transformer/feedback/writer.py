"""Writes a log's folder: documents into an open file at once, Parquet files of it from time to time.

    write, report --line--> open-<writer>.jsonl --roll--> day=…/….parquet        add --rows--> day=…/….parquet

Invariant: what `report` has returned from is on the disk. An open file belongs to the process that holds its lock; one whose
process is gone is made Parquet by the next that opens the folder.
"""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import msgspec

from penstock_transformer.feedback import parquet
from penstock_transformer.feedback.folder import OUTCOMES, PREDICTIONS, LogFolder, day_of, logged, read_lines, told
from penstock_transformer.feedback.log import Entry
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.reporting import Told
from penstock_transformer.feedback.row import LogRow

_encode = msgspec.json.Encoder().encode
OPEN = "open-"
"""What the name of a file begins with that a writer holds, or held when its process ended."""
# Rows of one Parquet file at most.
_PART_ROWS = 50_000


class FolderWriter:
    """One process's hand in a log's folder; any thread may call. Raises OSError."""

    def __init__(self, root: Path, *, part_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.root = root
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._part_s = part_s
        self._clock = clock
        self._rolled = clock()
        self._open: dict[tuple[str, str], IO[bytes]] = {}
        self._left: dict[tuple[str, str], IO[bytes]] = {}
        self._lock = threading.Lock()
        self._rolling = threading.Lock()

    def start(self) -> None:
        """Make the folder; finish what writers left that are gone."""
        self.root.mkdir(parents=True, exist_ok=True)
        for path in [*self.root.glob(f"*/*/{OPEN}*.jsonl")]:
            self._recover(path)

    def write(self, entries: Sequence[Entry]) -> None:
        """As `LogSink.write`."""
        with self._lock:
            for entry in entries:
                self._file(entry.model, PREDICTIONS).write(entry.document + b"\n")
            for file in self._open.values():
                file.flush()

    def report(self, told: Sequence[Told]) -> None:
        """Return once the outcomes are on the disk."""
        with self._lock:
            files = {model: self._file(model, OUTCOMES) for model in {one.model for one in told}}
            for one in told:
                files[one.model].write(_encode(one.outcome) + b"\n")
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())

    def tick(self) -> None:
        """Make Parquet files of what is open, if that is due."""
        if self._clock() - self._rolled >= self._part_s:
            self.roll()

    def roll(self) -> None:
        """Make Parquet files of all that is open; without pyarrow it stays as it is. What failed is tried first the next time,
        and stays ours until then. Raises the first error, after the others' turn."""
        first: Exception | None = None
        with self._rolling:
            self._rolled = self._clock()
            with self._lock:
                keys = dict.fromkeys((*self._left, *self._open))
            for key in keys:
                try:
                    self._finish(key)
                    with self._lock:
                        # Not while another of its kind is left: on a disk that stays full each would hold one more descriptor.
                        if (file := self._open.pop(key, None)) is not None:
                            self._left[key] = file
                    self._finish(key)
                except Exception as error:
                    first = first or error
        if first is not None:
            raise first

    def _finish(self, key: tuple[str, str]) -> None:
        file = self._left.get(key)
        if file is None:
            return
        model, kind = key
        path = Path(file.name)
        try:
            self._convert(LogFolder(self.root, model), kind, path)
        finally:
            # Converted, or removed by somebody else: there is nothing to try again.
            if not path.exists():
                del self._left[key]
                file.close()

    def close(self) -> None:
        """As `roll`; nothing is written afterwards."""
        self.roll()

    def add(self, model: str, rows: Sequence[LogRow], outcomes: Sequence[Outcome]) -> None:
        """Write rows and outcomes as Parquet files at once."""
        folder = LogFolder(self.root, model)
        self._add(folder, PREDICTIONS, rows, lambda row: row.clock)
        self._add(folder, OUTCOMES, outcomes, lambda outcome: outcome.received)

    def _add(self, folder: LogFolder, kind: str, found: Iterable[Any], time_of: Callable[[Any], float]) -> None:
        deleted = folder.deletions.read()
        covers: Callable[[Any], bool] = deleted.covers if kind == PREDICTIONS else deleted.covers_outcome
        days: dict[str, list[Any]] = {}
        for one in found:
            if not covers(one):
                days.setdefault(day_of(time_of(one)), []).append(one)
        written: list[Path] = []
        try:
            for day, rows in days.items():
                for start in range(0, len(rows), _PART_ROWS):
                    name = f"{time.time_ns() // 1_000_000}-{secrets.token_hex(3)}-{self.name}.parquet"
                    path = folder.path / kind / f"day={day}" / name
                    parquet.write_part(path, rows[start : start + _PART_ROWS])
                    written.append(path)
        except Exception:
            # All of it is tried again: what stayed would stand there once more after each try.
            for path in written:
                path.unlink(missing_ok=True)
            raise

    def _file(self, model: str, kind: str) -> IO[bytes]:
        file = self._open.get((model, kind))
        if file is None:
            folder = LogFolder(self.root, model).path / kind
            folder.mkdir(parents=True, exist_ok=True)
            file = self._open[model, kind] = self._made(folder)
        return file

    def _made(self, folder: Path) -> IO[bytes]:
        while True:
            # A name of its own each time: the one before may be on its way to Parquet still.
            file = (folder / f"{OPEN}{self.name}-{secrets.token_hex(3)}.jsonl").open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_nlink:
                    return file
            except OSError:
                file.close()
                raise
            # Another began in between, took it for one that was left, and removed it.
            file.close()

    def _convert(self, folder: LogFolder, kind: str, path: Path) -> None:
        data = path.read_bytes()
        try:
            if kind == PREDICTIONS:
                self._add(folder, kind, read_lines(data, logged), lambda row: row.clock)
            else:
                self._add(folder, kind, read_lines(data, told), lambda outcome: outcome.received)
        except parquet.NoParquet:
            path.rename(path.with_name(path.name.removeprefix(OPEN)))
            return
        path.unlink()

    def _recover(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._convert(LogFolder(self.root, unquote(path.parent.parent.name)), path.parent.name, path)
        except (BlockingIOError, FileNotFoundError):
            return

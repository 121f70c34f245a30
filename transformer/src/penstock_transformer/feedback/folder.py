"""A log in a folder: how it is laid out, and how it is read, whoever writes it meanwhile.

    LOG/<model>/predictions/day=2026-01-31/<ms>-<writer>.parquet      LOG/<model>/predictions/open-<writer>.jsonl
    LOG/<model>/outcomes/day=2026-01-31/<ms>-<writer>.parquet         LOG/<model>/outcomes/open-<writer>.jsonl
    LOG/<model>/deleted.jsonl       what is to be found no more: SHA-256 of ids, and up to which time

What was written last stands in a writer's open file, a document a line, until it becomes a Parquet file. A reader sees both.

Invariant: whatever is in two files after a crash is read once; what was deleted is not read, wherever it still lies.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

import msgspec

from penstock.errors import InvalidInput, NotFound
from penstock_transformer.feedback import parquet
from penstock_transformer.feedback.deletions import Deletions
from penstock_transformer.feedback.document import read_request
from penstock_transformer.feedback.outcome import Outcome, newer
from penstock_transformer.feedback.row import LogRow, rows_of

PREDICTIONS, OUTCOMES = "predictions", "outcomes"
T = TypeVar("T")

_outcome = msgspec.json.Decoder(Outcome).decode


class LogFolder:
    """One model's part of a log."""

    def __init__(self, root: Path, model: str) -> None:
        self.model = model
        self.path = root / quote(model, safe="")
        self.deletions = Deletions(self.path / "deleted.jsonl")

    def rows(self, since_s: float = 0.0, until_s: float = float("inf")) -> Iterator[LogRow]:
        """Logged rows whose clock is in [since, until), a file at a time, oldest day first."""
        seen: set[tuple[str, int, float, str]] = set()
        deleted = self.deletions.read()
        for path in self._each(PREDICTIONS, since_s, until_s):
            with suppress(FileNotFoundError):
                for row in parquet.read_rows(path) if path.suffix == ".parquet" else read_lines(path.read_bytes(), logged):
                    key = (row.id, row.row, row.clock, row.bundle)
                    if since_s <= row.clock < until_s and key not in seen and not deleted.covers(row):
                        seen.add(key)
                        yield row

    def outcomes(self, since_s: float = 0.0) -> dict[tuple[str, int], Outcome]:
        """The outcome that counts of each row that has one; those that came on days before `since_s` are left out."""
        found: dict[tuple[str, int], Outcome] = {}
        deleted = self.deletions.read()
        for path in self._each(OUTCOMES, since_s):
            with suppress(FileNotFoundError):
                for outcome in parquet.read_outcomes(path) if path.suffix == ".parquet" else read_lines(path.read_bytes(), told):
                    if not deleted.covers_outcome(outcome):
                        key = (outcome.id, outcome.row)
                        found[key] = newer(found.get(key, outcome), outcome)
        return found

    def _each(self, kind: str, since_s: float = 0.0, until_s: float = float("inf")) -> Iterator[Path]:
        """Its files, each once; those too that came while others were read: what was open when we listed them may be Parquet."""
        done: set[Path] = set()
        while new := [path for path in self.parts(kind, since_s, until_s) if path not in done]:
            done.update(new)
            yield from new

    def parts(self, kind: str, since_s: float = 0.0, until_s: float = float("inf")) -> list[Path]:
        """Its files, oldest day first, open ones last; those of other days are left out."""
        base = self.path / kind
        first, last = day_of(since_s), day_of(min(until_s, time.time() + 2 * 86400.0))
        days = [day for day in base.glob("day=*") if first <= day.name.removeprefix("day=") <= last]
        closed = [path for day in sorted(days) for path in sorted(day.glob("*.parquet"))]
        return closed + sorted(base.glob("*.jsonl"))


def models_of(root: Path) -> list[str]:
    """The models that a log holds. Raises NotFound for a folder without any."""
    found = sorted({unquote(path.parent.name) for kind in (PREDICTIONS, OUTCOMES) for path in root.glob(f"*/{kind}")})
    if not found:
        raise NotFound(f"{root} is no log of predictions: it has no folder <model>/{PREDICTIONS}")
    return found


def log_folder(root: Path, model: str | None) -> LogFolder:
    """One model's, the only one's if none is named. Raises NotFound, InvalidInput."""
    models = models_of(root)
    if model is None and len(models) > 1:
        raise InvalidInput(f"expected one of {', '.join(models)}", field="model")
    if model is not None and model not in models:
        raise NotFound(f"{root} has no log of {model!r}; it has {', '.join(models)}", field="model")
    return LogFolder(root, model or models[0])


def day_of(seconds: float) -> str:
    """The day in UTC that a part's folder is named by."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def read_lines(data: bytes, read: Callable[[bytes], Iterator[T]]) -> Iterator[T]:
    """What whole lines say; the last one may be half written, and one that cannot be read is left out."""
    for line in data.split(b"\n")[:-1]:
        try:
            yield from read(line)
        except InvalidInput:
            continue


def logged(line: bytes) -> Iterator[LogRow]:
    """The rows of an open file's line."""
    return rows_of(read_request(line))


def told(line: bytes) -> Iterator[Outcome]:
    """The outcome of an open file's line."""
    try:
        yield _outcome(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"expected an outcome: {error}") from None

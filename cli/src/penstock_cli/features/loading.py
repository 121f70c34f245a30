"""A bulk load: rows of a source into the online store, and into the history that training reads; what does not fit, into a file.

Source -> RowReader -> batches -> FeatureStore.write (compare-and-set)
             |            +-----> History parts ------ at the end ------> the history
             +-> reject file: line, reason, the cells as they came
"""

import asyncio
import csv
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from penstock_cli.features.checkpoint import Checkpoint, Counts
from penstock_cli.features.history import History
from penstock_cli.features.rows import Rejected, RowReader, Source, SourceRow
from penstock_transformer.store.port import FeatureStore, RowWrite, SetRead

BATCH_ROWS = 500
# Batches between two checkpoints: each makes a file of the history's rows.
CHECKPOINT_BATCHES = 40

Report = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What is loaded from where to where. `history` is None where the view's history is no local file, or not wanted."""

    source: Source
    reader: RowReader
    store: FeatureStore
    checkpoint: Checkpoint
    history: History | None
    rejects: Path


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result. `resumed_at`: rows that an interrupted load had done; `history_rows`: rows that are new in the history."""

    counts: Counts
    resumed_at: int
    history_rows: int


async def load(order: Load, report: Report, *, afresh: bool = False) -> Loaded:
    """Carry it out. Raises UpstreamUnavailable when the store is away; the next call goes on from the last checkpoint."""
    counts = order.checkpoint.open(afresh=afresh)
    if not order.source.repeatable:
        # Rows without an order cannot be counted off: begin again, the store will know what it has.
        counts = order.checkpoint.open(afresh=True)
    await order.store.start()
    try:
        rows = iter(order.source.rows())
        if counts.read and not await _are_done(order, rows, counts):
            counts, rows = order.checkpoint.open(afresh=True), iter(order.source.rows())
        resumed_at = counts.read
        with _RejectFile(order.rejects, order.source.header, counts) as rejects:
            await _batches(order, rows, counts, rejects, report)
    finally:
        await order.store.close()
    added = order.history.merge() if order.history else 0
    order.checkpoint.done()
    return Loaded(counts, resumed_at, added)


async def _are_done(order: Load, rows: Iterator[SourceRow], counts: Counts) -> bool:
    """Pass over the rows that are done. False if they are not those that were: a query's rows have shifted meanwhile, or the
    store was emptied, and some would never be loaded.
    """
    last = None
    for number, last in enumerate(islice(rows, counts.read), 1):  # noqa: B007
        pass
    if last is None or number != counts.read or _mark(last) != counts.last:
        return False
    try:
        write = order.reader.read(last)
    except Rejected:
        return True
    (held,) = await order.store.read([SetRead(write.view, [write.key], ())])
    return not math.isnan(held.event_times[0])


def _mark(row: SourceRow) -> str:
    return hashlib.sha256(repr(row.cells).encode(errors="surrogatepass")).hexdigest()


async def _batches(order: Load, rows: Iterator[SourceRow], counts: Counts, rejects: "_RejectFile", report: Report) -> None:
    kept: list[RowWrite] = []
    number = 0
    while batch := list(islice(rows, BATCH_ROWS)):
        writes = list(_good(order.reader, batch, counts, rejects))
        done = await order.store.write(writes)
        counts.written += sum(done)
        counts.unchanged += len(done) - sum(done)
        counts.read += len(batch)
        counts.line, counts.last = batch[-1].line, _mark(batch[-1])
        kept += writes
        number += 1
        if number % CHECKPOINT_BATCHES == 0:
            _keep(order, counts, kept, rejects)
        report(batch[-1].position, counts.read, counts.rejected)
        # Let the store's own tasks and a keyboard interrupt in between batches.
        await asyncio.sleep(0)
    _keep(order, counts, kept, rejects)


def _keep(order: Load, counts: Counts, kept: list[RowWrite], rejects: "_RejectFile") -> None:
    if order.history is not None and kept:
        counts.parts += 1
        order.history.add(kept, counts.parts)
    kept.clear()
    counts.reject_bytes = rejects.position()
    order.checkpoint.save(counts)


def _good(reader: RowReader, batch: list[SourceRow], counts: Counts, rejects: "_RejectFile") -> Iterator[RowWrite]:
    for row in batch:
        try:
            yield reader.read(row)
        except Rejected as reason:
            counts.rejected += 1
            rejects.add(row, str(reason))


class _RejectFile:
    """The reject file, made when the first row is rejected, or cut to where a resumed load was."""

    def __init__(self, path: Path, header: list[str], counts: Counts) -> None:
        self._path = path
        self._header = header
        self._file: Any = None
        self._start = counts.reject_bytes

    def __enter__(self) -> "_RejectFile":
        if not self._start:
            self._path.unlink(missing_ok=True)
        elif self._path.exists():
            self._open("r+")
            self._file.truncate(self._start)
            self._file.seek(self._start)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self, mode: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")
        self._writer = csv.writer(self._file)

    def add(self, row: SourceRow, reason: str) -> None:
        """Keep a row with its line and the reason."""
        if self._file is None:
            self._open("w")
            self._writer.writerow(["line", "reason", *self._header])
        self._writer.writerow([row.line, reason, *row.cells])

    def position(self) -> int:
        """Bytes so far, all of them on the disk."""
        if self._file is None:
            return 0
        self._file.flush()
        return self._path.stat().st_size

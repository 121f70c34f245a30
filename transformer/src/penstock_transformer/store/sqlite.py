"""Feast's SQLite online store, for one process and for development: reads on the event loop where that is cheaper.

    SetRead … --inline, or the reader's thread--> SqliteFile.read --> pivot --> Reading.columns

A small read costs some 30 us, half of what the way to a thread and back costs. It never waits on the loop: if another
process holds the file, the read goes to the thread, which waits up to the timeout. Writes have a thread and a connection
of their own.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from penstock.errors import UpstreamUnavailable
from penstock.features.spec import StoreLayout
from penstock_transformer.store.port import RowWrite, SetColumns, SetRead
from penstock_transformer.store.rows import cursor_bytes, decoded, pivot, stored_write
from penstock_transformer.store.settings import DEFAULT, StoreSettings
from penstock_transformer.store.sqlite_file import SqliteFile, in_seconds
from penstock_transformer.store.store_thread import StoreThread
from penstock_transformer.store.view import Views

T = TypeVar("T")


class SqliteStore:
    """The online store in the file at `path` (a `FeatureStore`). `start` before use; `close` joins the threads."""

    def __init__(self, path: Path, layout: StoreLayout, settings: StoreSettings = DEFAULT) -> None:
        self._path = path
        self._views = Views(layout)
        self._settings = settings
        self._inode: tuple[int, int] | None = None
        self._inline: SqliteFile | None = None
        self._reader: SqliteFile | None = None
        self._writer: SqliteFile | None = None
        self._threads = {name: StoreThread(f"sqlite-{name}", settings) for name in ("read", "write")}
        self._closed = False

    async def start(self) -> None:
        """Open the file. Raises UpstreamUnavailable if it is missing or no database."""
        self._open()

    async def close(self) -> None:
        """Finish what runs in the threads, and close the connections."""
        self._forget()
        self._closed = True
        for thread in self._threads.values():
            await thread.close()

    async def read(self, reads: Sequence[SetRead]) -> list[SetColumns]:
        """One statement per view, on the loop for small reads. Raises UpstreamUnavailable, InvalidInput, Overloaded."""
        self._open()
        encoded = [(self._views[read.view], read) for read in reads]
        work = [(view, view.codec.encode(read.keys), view.reading(read.features)) for view, read in encoded]
        inline = self._inline
        if inline is not None and sum(len(keys) for _, keys, _ in work) <= self._settings.inline_keys:
            try:
                rows = [inline.read(view, keys, reading.names) for view, keys, reading in work]
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise self._unavailable(error) from None
                rows = None
            except sqlite3.Error as error:
                raise self._unavailable(error) from None
            if rows is not None:
                return self._answers(work, rows)
        reader = self._reader
        assert reader is not None
        rows = await self._in_thread("read", reader, lambda: [reader.read(v, keys, r.names) for v, keys, r in work])
        return self._answers(work, rows)

    @staticmethod
    def _answers(work: Sequence[Any], found: Sequence[Any]) -> list[SetColumns]:
        out = []
        for (_, keys, reading), rows in zip(work, found, strict=True):
            try:
                values, times = pivot(rows, keys, reading.names)
            except TypeError:
                # Event times of several kinds in one table, which it would cost a look at every row to find out before.
                values, times = pivot(in_seconds(rows), keys, reading.names)
            out.append(reading.columns(values, times))
        return out

    async def write(self, rows: Sequence[RowWrite]) -> list[bool]:
        """One transaction. Raises InvalidInput before anything is written."""
        self._open()
        writes = [stored_write(self._views[row.view], row) for row in rows]
        writer = self._for_writing()
        return await self._in_thread("write", writer, lambda: writer.write(writes))

    async def delete(self, view: str, keys: Sequence[tuple[Any, ...]]) -> int:
        """Remove entities; the number that existed."""
        self._open()
        found = self._views[view]
        encoded, writer = found.codec.encode(keys), self._for_writing()
        return await self._in_thread("write", writer, lambda: writer.delete(found, encoded))

    async def scan(self, view: str, cursor: str | None, limit: int) -> tuple[list[tuple[Any, ...]], str | None]:
        """Keys in their byte order."""
        self._open()
        found, reader = self._views[view], self._reader
        after = cursor_bytes(cursor)
        assert reader is not None
        keys = await self._in_thread("read", reader, lambda: reader.scan(found, after, limit))
        return decoded(found, keys), keys[-1].hex() if len(keys) == limit else None

    def _open(self) -> None:
        """Open the file, or open it again after another file has taken its place."""
        if self._closed:
            raise UpstreamUnavailable("the feature store is closed")
        try:
            stat = os.stat(self._path)
        except OSError as error:
            self._forget()
            raise UpstreamUnavailable(f"the feature store {self._path} cannot be read: {error.strerror}") from None
        inode = (stat.st_dev, stat.st_ino)
        if inode == self._inode:
            return
        self._forget()
        project, wait_s = self._views.project, self._settings.timeout_s
        self._inline = SqliteFile(self._path, project, writable=False, wait_s=0)
        self._reader = SqliteFile(self._path, project, writable=False, wait_s=wait_s)
        try:
            self._reader.check()
        except sqlite3.Error as error:
            self._forget()
            raise self._unavailable(error) from None
        self._inode = inode

    def _for_writing(self) -> SqliteFile:
        if self._writer is None:
            self._writer = SqliteFile(self._path, self._views.project, writable=True, wait_s=self._settings.timeout_s)
        return self._writer

    def _forget(self) -> None:
        if self._inline is not None:
            self._inline.close()
        for name, file in (("read", self._reader), ("write", self._writer)):
            if file is not None:
                # Behind whatever its thread still does with it.
                self._threads[name].soon(file.close)
        self._inline = self._reader = self._writer = None
        self._inode = None

    async def _in_thread(self, name: str, file: SqliteFile, work: Callable[[], T]) -> T:
        try:
            return await self._threads[name].run(work, late=file.interrupt)
        except TimeoutError:
            raise UpstreamUnavailable(f"the feature store {self._path} did not answer in {self._settings.timeout_s} s") from None
        except sqlite3.Error as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: sqlite3.Error) -> UpstreamUnavailable:
        remedy = "; run `penstock features apply`" if "no such table" in str(error) else ""
        return UpstreamUnavailable(f"the feature store {self._path}: {error}{remedy}")

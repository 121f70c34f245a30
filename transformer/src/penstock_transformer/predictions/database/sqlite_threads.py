"""SQLite in threads: one that writes, a few that read, each with a connection of its own; a transaction is one visit to a thread.

A statement at a time from the event loop would cost a change of threads each, several times what SQLite itself takes. There is
one writer, so nothing waits for SQLite's lock. Commits are on the disk when they return (WAL, synchronous FULL); readers and the
writer do not wait for each other.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from penstock_transformer.predictions.database.settings import DatabaseSettings

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

# Pages of the write-ahead log after which it is copied into the file.
_CHECKPOINT_PAGES = 4000
_PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", f"wal_autocheckpoint = {_CHECKPOINT_PAGES}")
_READ_ONLY = "query_only = ON"


class SqliteThreads:
    """The threads of one file."""

    def __init__(self, path: Path, settings: DatabaseSettings) -> None:
        # Who gives up waiting for his turn has not begun; of what the thread has taken nobody can say that.
        self._turn = asyncio.Lock()
        self._writer = _engine(path, settings, 1, _PRAGMAS)
        sa.event.listen(self._writer, "begin", _begin_immediate)
        self._reader = _engine(path, settings, settings.connections, (*_PRAGMAS, _READ_ONLY))
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="predictions-writer")
        self._read_threads = ThreadPoolExecutor(settings.connections, thread_name_prefix="predictions-reader")

    async def write(self, work: Work[T], committed: Callable[[T], None] | None) -> T:
        """Do this in a transaction. One that was begun is finished, and `committed` called, whether anybody waits for it or
        not."""
        async with self._turn:
            done = asyncio.get_running_loop().run_in_executor(self._write_thread, self._in_transaction, work)
            if committed is not None:
                done.add_done_callback(lambda ended: _tell(ended, committed))
            return await asyncio.shield(done)

    def _in_transaction(self, work: Work[T]) -> T:
        with self._writer.begin() as connection:
            return work(connection)

    async def read(self, work: Work[T]) -> T:
        """Do this on a connection that only reads."""
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._reading, work)

    def _reading(self, work: Work[T]) -> T:
        with self._reader.connect() as connection:
            return work(connection)

    async def close(self) -> None:
        """Finish what was begun, close all connections."""
        for threads, engine in ((self._read_threads, self._reader), (self._write_thread, self._writer)):
            await asyncio.to_thread(threads.shutdown)
            engine.dispose()


def _tell(ended: "asyncio.Future[T]", committed: Callable[[T], None]) -> None:
    if not ended.cancelled() and ended.exception() is None:
        committed(ended.result())


def _prepare(*pragmas: str) -> Callable[[Any, Any], None]:
    """A listener that sets these on every new connection."""

    def run(dbapi_connection: Any, _: Any) -> None:
        cursor = dbapi_connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return run


def _begin_immediate(connection: sa.Connection) -> None:
    """The writer takes its lock at the beginning: nothing it has read has changed when it writes."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _engine(path: Path, settings: DatabaseSettings, connections: int, pragmas: tuple[str, ...]) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        # isolation_level None: Python's driver begins no transactions of its own.
        connect_args={"timeout": settings.timeout_s, "isolation_level": None, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        # Its end must be the same as its beginning: nothing to roll back after a commit, and readers have no transactions.
        pool_reset_on_return=None if _READ_ONLY in pragmas else "rollback",
    )
    sa.event.listen(engine, "connect", _prepare(*pragmas))
    return engine

"""The connections to the database: SQLAlchemy's pools over asyncpg or aiosqlite, and what their errors mean to callers.

    async with engine.reading() as c:    statements by themselves, no transaction          SQLite: one of a few readers
    async with engine.writing() as c:    one transaction, committed at the end, durable    SQLite: the one writer, one at a time

What goes wrong with the database leaves here as UpstreamUnavailable and nothing else: it cannot be reached, it does not answer
within the timeout, its disk is full. A transaction that ends so has changed nothing, unless it was the answer to its COMMIT that
was lost; so every transaction of ours may be made again.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, DisconnectionError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.settings import hide_password
from penstock_transformer.predictions.database.address import Address
from penstock_transformer.predictions.database.settings import DatabaseSettings

# Pages of the write-ahead log after which it is copied into the file.
_CHECKPOINT_PAGES = 4000
# SQLSTATEs that tell of the database's state and are no fault of a statement: connection, resources, intervention, system.
_STATES = ("08", "25006", "40", "53", "55P03", "57", "58", "28", "3D000", "42501")
_NOT_STATEMENTS = (
    "disk is full",
    "disk I/O error",
    "is locked",
    "unable to open",
    "readonly",
    "malformed",
    "not a database",
    "no active connection",
    "interrupted",
)


class Engine:
    """Connections of one process to one database. Used on the event loop's thread."""

    def __init__(self, address: Address, settings: DatabaseSettings) -> None:
        self.address = address
        self.settings = settings
        self.is_sqlite = address.path is not None
        if address.path is not None:
            self._writer = _sqlite_engine(address, settings, 1)
            sa.event.listen(self._writer.sync_engine, "begin", _begin_immediate)
            self._reader = _sqlite_engine(address, settings, settings.connections, "PRAGMA query_only = ON")
        else:
            self._writer = _postgres_engine(address, settings)
            self._reader = self._writer.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def now(self) -> sa.ColumnElement[float]:
        """The database's own clock, in s of the Unix epoch: leases are by it, whatever the clocks of its clients say."""
        if self.is_sqlite:
            return (sa.func.julianday("now") - 2440587.5) * 86400.0
        return sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Double)

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """A connection for reading, or (PostgreSQL) for statements that are transactions by themselves."""
        async with self._translated(), self._reader.connect() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection]:
        """A connection in a transaction, which is committed when the block ends, rolled back when it raises."""
        async with self._translated(), self._writer.begin() as connection:
            yield connection

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()

    def unavailable(self, reason: str) -> UpstreamUnavailable:
        """The error of a call that the database did not answer."""
        return UpstreamUnavailable(f"the predictions database ({self.address.label}) {reason}")

    @asynccontextmanager
    async def _translated(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                yield
        except TimeoutError:
            raise self.unavailable(f"did not answer in {self.settings.timeout_s} s") from None
        except (DBAPIError, InvalidRequestError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            reason = reason_of(error)
            if reason is None:
                raise
            raise self.unavailable(reason) from error


def reason_of(error: BaseException) -> str | None:
    """What to say of a database that raised this; None where the error is a fault of the statement, and so of ours."""
    origin = getattr(error, "orig", None) or error
    text = hide_password(str(origin).strip() or type(origin).__name__)
    state = getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None)
    if state is not None:
        return f"answered: {text}" if str(state).startswith(_STATES) else None
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return f"ended the connection: {text}"
    if isinstance(origin, sqlite3.Error):
        return f"answered: {text}" if any(part in text for part in _NOT_STATEMENTS) else None
    if isinstance(origin, OSError):
        return f"cannot be reached: {text}"
    lost = isinstance(origin, (asyncpg.InterfaceError, asyncpg.PostgresConnectionError)) or "connection" in text.lower()
    return f"ended the connection: {text}" if lost else None


def _postgres_engine(address: Address, settings: DatabaseSettings) -> AsyncEngine:
    async def connect(*_: Any, **__: Any) -> Any:
        try:
            return await connect_postgres(address, settings)
        except ValueError as error:
            raise InvalidInput(f"the URL cannot be used: {hide_password(str(error))}", field="database") from None

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=settings.connections,
        max_overflow=0,
        pool_timeout=settings.timeout_s,
    )
    sa.event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


async def connect_postgres(address: Address, settings: DatabaseSettings) -> Any:
    """A connection of its own. Raises ValueError for a URL that cannot be used, OSError, asyncpg's errors."""
    return await asyncpg.connect(address.url, timeout=settings.timeout_s, server_settings={"application_name": "penstock"})


def _refuse_closed(dbapi_connection: Any, *_: Any) -> None:
    """A connection that the server ended while it was idle is replaced, without asking the server about every one."""
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError("closed by the server")


def _sqlite_engine(address: Address, settings: DatabaseSettings, connections: int, *pragmas: str) -> AsyncEngine:
    # isolation_level None: Python's driver begins no transactions of its own.
    arguments = {"timeout": settings.timeout_s, "isolation_level": None}
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(address.path)),
        connect_args=arguments,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=settings.timeout_s,
    )

    def prepare(dbapi_connection: Any, _: Any) -> None:
        cursor = dbapi_connection.cursor()
        # A commit is on the disk when it returns (FULL); readers and the writer do not wait for each other (WAL).
        for pragma in ("journal_mode = WAL", "synchronous = FULL", f"wal_autocheckpoint = {_CHECKPOINT_PAGES}"):
            cursor.execute(f"PRAGMA {pragma}")
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    sa.event.listen(engine.sync_engine, "connect", prepare)
    return engine


def _begin_immediate(connection: sa.Connection) -> None:
    """The writer takes its lock at the beginning: nothing it has read has changed when it writes."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")

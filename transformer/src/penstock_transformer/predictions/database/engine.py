"""The connections to the database, and what their errors mean to callers.

    await engine.read(work)     statements by themselves, no transaction
    await engine.write(work)    one transaction, committed at the end, durable

`work` is a plain function of a `sqlalchemy.Connection`. PostgreSQL: it runs on the event loop, over asyncpg, waiting as a
coroutine would. SQLite: it runs in a thread (`sqlite_threads`). So every statement is written once for both.

What goes wrong with the database leaves here as UpstreamUnavailable and nothing else: it cannot be reached, it does not answer
within the timeout, its disk is full. A transaction that ends so has changed nothing, unless it was the answer to its COMMIT that
was lost; so every transaction of ours may be made again.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.settings import hide_password
from penstock_transformer.predictions.database.address import Address
from penstock_transformer.predictions.database.failures import DATABASE_ERRORS, reason_of
from penstock_transformer.predictions.database.settings import DatabaseSettings
from penstock_transformer.predictions.database.sqlite_threads import SqliteThreads

T = TypeVar("T")

SQLITE_NOW: sa.ColumnElement[float] = (sa.func.julianday("now") - 2440587.5) * 86400.0


class Engine:
    """Connections of one process to one database. Used on the event loop's thread."""

    def __init__(self, address: Address, settings: DatabaseSettings) -> None:
        self.address = address
        self.settings = settings
        self.is_sqlite = address.path is not None
        self._threads = None if address.path is None else SqliteThreads(address.path, settings)
        # No connection of it is made before one is used: for SQLite none ever is.
        self._writer = _postgres_engine(address, settings)
        self._reader = self._writer.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def now(self) -> sa.ColumnElement[float]:
        """The database's own clock, in s of the Unix epoch: leases are by it, whatever the clocks of its clients say."""
        if self.is_sqlite:
            return SQLITE_NOW
        return sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Double)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Do this on a connection for reading, or (PostgreSQL) with statements that are transactions by themselves."""
        if self._threads is None:
            async with self._reading() as connection:
                return await connection.run_sync(work)
        async with self._translated():
            return await self._threads.read(work)

    async def write(self, work: Callable[[sa.Connection], T], committed: Callable[[T], None] | None = None) -> T:
        """Do this in a transaction, which is committed when it returns and rolled back when it raises.

        `committed` is called with what it returned, for SQLite only: PostgreSQL tells of its commits by notifications."""
        if self._threads is None:
            async with self._translated(), self._writer.begin() as connection:
                return await connection.run_sync(work)
        async with self._translated():
            return await self._threads.write(work, committed)

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        """The rows of one statement, a transaction by itself, straight from PostgreSQL's driver."""
        async with self._reading() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            try:
                found: list[Any] = await driver.fetch(statement, *arguments)
            except Exception as error:
                # The pool learns that it is of no more use. (Of a call that was cancelled the driver itself takes care.)
                if not isinstance(error, asyncpg.PostgresError) or reason_of(error) is not None:
                    driver.terminate()
                raise
            return found

    async def fetch_locked(self, lock: int, statement: str, *arguments: Any) -> list[Any]:
        """As `fetch`, with this advisory lock taken before the statement looks at anything, and held until it is committed."""
        async with self._reading() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            try:
                await driver.execute(f"BEGIN; SELECT pg_advisory_xact_lock({lock:d})")
                found: list[Any] = await driver.fetch(statement, *arguments)
                await driver.execute("COMMIT")
            except BaseException:
                # Whatever it was: the transaction ends with the connection, and its lock with both.
                driver.terminate()
                raise
            return found

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[AsyncConnection]:
        async with self._translated(), self._reader.connect() as connection:
            yield connection

    async def close(self) -> None:
        """Close all connections."""
        await self._writer.dispose()
        if self._threads is not None:
            await self._threads.close()

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
        except DATABASE_ERRORS as error:
            reason = reason_of(error)
            if reason is None:
                raise
            raise self.unavailable(reason) from error


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
    connection = await asyncpg.connect(address.url, timeout=settings.timeout_s, server_settings={"application_name": "penstock"})
    try:
        # Who hangs in mid-transaction, or whose machine is gone without a word, would hold its locks until it is back: among them
        # the relays', for which all relays wait. By a statement: between us and the server may be one who knows few settings.
        limit_ms = max(1, round(settings.timeout_s * 1000))
        await connection.execute(f"SET idle_in_transaction_session_timeout = {limit_ms}", timeout=settings.timeout_s)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _refuse_closed(dbapi_connection: Any, *_: Any) -> None:
    """A connection that the server ended while it was idle is replaced, without asking the server about every one."""
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError("closed by the server")

"""A few PostgreSQL connections, made when they are needed and thrown away when they are doubtful.

    run(work) -> an idle connection, or a new one, or wait for one -> work(connection) -> back to the idle ones

asyncpg's own pool asks the server to reset a connection after each use, a second round trip; here every statement is complete in
itself or in its transaction, so there is nothing to reset. A connection on which anything went wrong is ended, never reused.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg

from penstock.errors import InvalidInput, Overloaded, PenstockError, UpstreamUnavailable
from penstock.settings import hide_password
from penstock_transformer.store.settings import StoreSettings

T = TypeVar("T")

# What the server says about the statement, after which the connection is as good as before.
_STATEMENT_ERRORS = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InsufficientPrivilegeError)


class PostgresPool:
    """Connections to the database at `url`. Everything here runs on the event loop's thread."""

    def __init__(self, url: str, settings: StoreSettings) -> None:
        # SQLAlchemy's way to name a driver is Feast users' habit; here there is one.
        scheme, separator, rest = url.partition("://")
        url = scheme.partition("+")[0] + separator + rest
        parts = urlsplit(url)
        try:
            port = parts.port or 5432
        except ValueError:
            raise InvalidInput("expected a port; does the password need percent-encoding?", field="feature_store") from None
        if not parts.hostname and "host=" not in parts.query:
            raise InvalidInput("expected postgresql://[user:password@]host[:port]/database", field="feature_store")
        self._url = url
        self._label = f"PostgreSQL at {parts.hostname or 'socket'}:{port}{parts.path}"
        self._settings = settings
        self._idle: list[Any] = []
        self._free = asyncio.Semaphore(settings.connections)
        self._waiting = 0
        self._failures = 0
        self._not_before = 0.0
        self._last_error: PenstockError | None = None
        self._all: set[Any] = set()
        self._closed = False

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run `work` on a connection. Raises UpstreamUnavailable within the timeout, Overloaded when too many wait."""
        if self._waiting >= self._settings.max_in_flight:
            raise Overloaded("the feature store has too many reads under way", retry_after_s=self._settings.timeout_s)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                async with self._free:
                    return await self._use(work)
        except TimeoutError:
            raise self._unavailable(f"did not answer in {self._settings.timeout_s} s") from None
        finally:
            self._waiting -= 1

    async def _use(self, work: Callable[[Any], Awaitable[T]]) -> T:
        connection = await self._connection()
        try:
            result = await work(connection)
        except _STATEMENT_ERRORS as error:
            self._idle.append(connection)
            remedy = "; run `penstock features apply`" if isinstance(error, asyncpg.UndefinedTableError) else ""
            raise self._unavailable(f"answered: {error}{remedy}") from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._drop(connection)
            raise self._unavailable(f"answered: {error}") from None
        except BaseException:
            # Cancelled or too late: what the server is still doing on this connection is not known.
            self._drop(connection)
            raise
        self._idle.append(connection)
        return result

    async def _connection(self) -> Any:
        if self._closed:
            raise UpstreamUnavailable("the feature store is closed")
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._all.discard(connection)
        if time.monotonic() < self._not_before and self._last_error is not None:
            raise UpstreamUnavailable(self._last_error.message)
        try:
            connection = await asyncpg.connect(self._url, timeout=self._settings.timeout_s, command_timeout=None)
        except (ValueError, asyncpg.InterfaceError) as error:
            raise InvalidInput(f"the PostgreSQL URL cannot be used: {hide_password(str(error))}", field="feature_store") from None
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            raise self._failed(reason) from None
        self._failures, self._last_error = 0, None
        self._all.add(connection)
        return connection

    def _failed(self, reason: str) -> PenstockError:
        delay = min(self._settings.backoff_s * 2**self._failures, self._settings.max_backoff_s)
        self._failures = min(self._failures + 1, 16)
        self._not_before = time.monotonic() + delay * random.uniform(0.5, 1.0)
        self._last_error = self._unavailable(f"cannot be reached: {reason}")
        return self._last_error

    def _drop(self, connection: Any) -> None:
        self._all.discard(connection)
        connection.terminate()

    def _unavailable(self, reason: str) -> UpstreamUnavailable:
        return UpstreamUnavailable(f"the feature store ({self._label}) {reason}")

    async def close(self) -> None:
        """Close what is idle; end what is still busy."""
        self._closed = True
        for connection in self._idle:
            self._all.discard(connection)
            try:
                await connection.close(timeout=self._settings.timeout_s)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()
        self._idle.clear()
        for connection in list(self._all):
            self._drop(connection)

"""News from PostgreSQL: one connection a process that LISTENs, and tells those who wait in this process.

    NOTIFY penstock_changes "state⏎id⏎id …"   -> Changes.tell       NOTIFY penstock_arrivals "model"   -> Changes.arrived

Notifications are sent in the transactions whose news they are, and come when those are committed. A connection that ended is made
anew, with backoff; what was told in between is lost, so everybody reads for himself then (`Changes.missed`). One that is silent
is asked from time to time whether it still lives.
"""

import asyncio
import logging
import random
from contextlib import suppress
from typing import Any

import asyncpg

from penstock_transformer.predictions.changes import Changes
from penstock_transformer.predictions.database.engine import Engine, connect_postgres
from penstock_transformer.predictions.database.postgres_statements import ARRIVALS, CHANGES, SEPARATOR
from penstock_transformer.predictions.resource import State

logger = logging.getLogger(__name__)

_CHECK_S = 15.0
_BACKOFF_S, _MOST_BACKOFF_S = 0.05, 5.0
_ERRORS = (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Listening:
    """The listening connection. `start` returns once it listens, or the first try has failed; it goes on trying by itself."""

    def __init__(self, engine: Engine, changes: Changes) -> None:
        self._engine = engine
        self._changes = changes
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self.connected = False

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        await self._tried.wait()

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        backoff = _BACKOFF_S
        while True:
            try:
                connection = await connect_postgres(self._engine.address, self._engine.settings)
            except _ERRORS as error:
                logger.warning("predictions database cannot be listened to", extra={"reason": str(error)})
            else:
                backoff = _BACKOFF_S
                await self._listen(connection)
            self._tried.set()
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
            backoff = min(2 * backoff, _MOST_BACKOFF_S)

    async def _listen(self, connection: Any) -> None:
        """Until the connection ends."""
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        try:
            await connection.add_listener(CHANGES, self._changed)
            await connection.add_listener(ARRIVALS, self._arrived)
            self.connected = True
            self._tried.set()
            self._changes.missed()
            while not ended.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), _CHECK_S)
                if not ended.is_set():
                    await connection.execute("SELECT 1", timeout=self._engine.settings.timeout_s)
        except _ERRORS as error:
            logger.warning("predictions database is not heard any more", extra={"reason": str(error)})
        finally:
            self.connected = False
            connection.terminate()

    def _changed(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        state, *ids = payload.split(SEPARATOR)
        for prediction_id in ids:
            self._changes.tell(prediction_id, State(state))

    def _arrived(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        self._changes.arrived(payload)

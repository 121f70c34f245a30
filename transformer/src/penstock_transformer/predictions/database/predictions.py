"""Predictions in a database: what implements the port, put together of its parts.

submit -> Submitting -> Writing        get, input, position, find -> Finding        end, cancel -> EndingWriter
claim, renew, ... -> Claiming          changes, arrivals -> Changes <- Listening (PostgreSQL), the writers (SQLite)
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from penstock.errors import UpstreamUnavailable
from penstock_transformer.predictions.changes import Changes
from penstock_transformer.predictions.database.claiming import Claiming
from penstock_transformer.predictions.database.ending import EndingWriter
from penstock_transformer.predictions.database.engine import Engine
from penstock_transformer.predictions.database.expiring import expire
from penstock_transformer.predictions.database.file_lock import FileLock
from penstock_transformer.predictions.database.finding import Finding
from penstock_transformer.predictions.database.listening import Listening
from penstock_transformer.predictions.database.migrating import migrate
from penstock_transformer.predictions.database.submitting import Submitting
from penstock_transformer.predictions.database.writing import Writing
from penstock_transformer.predictions.port import CLAIM_BYTES, Backlog, Claim, Expired, Filter, Page
from penstock_transformer.predictions.resource import Ending, NewPrediction, Payload, Prediction, State

logger = logging.getLogger(__name__)

_RETRY_S, _MOST_RETRY_S = 0.2, 5.0


class DatabasePredictions:
    """Predictions of one database (a `Predictions`, and `Claims`). `start` before anything else, `close` after everything."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.news = Changes()
        self._endings = EndingWriter(engine, self.news)
        self._finding = Finding(engine)
        self._claiming = Claiming(engine, self.news)
        self._submitting = Submitting(Writing(engine, self.news).write, engine.settings)
        self._listening = None if engine.is_sqlite else Listening(engine, self.news)
        self._lock = FileLock(engine.address.path) if engine.address.path is not None else None

    async def start(self, *, patient: bool = True) -> None:
        """Open, and bring the schema to this release's. `patient`: a database that cannot be reached is waited for.

        Raises InvalidInput for a URL that cannot be used, for a database that a newer release made, and for an SQLite file that
        another process has; UpstreamUnavailable if not `patient`.
        """
        if self._lock is not None:
            await self._lock.take(self.engine.settings.open_s)
        wait_s = _RETRY_S
        while True:
            try:
                if await migrate(self.engine):
                    logger.info("predictions database migrated", extra={"database": self.engine.address.label})
                if self.engine.is_sqlite:
                    await self._claiming.forget_holders()
                break
            except UpstreamUnavailable as error:
                if not patient:
                    raise
                logger.warning("predictions database is waited for", extra={"reason": error.message})
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _MOST_RETRY_S)
        if self._listening is not None:
            await self._listening.start()

    async def close(self) -> None:
        """Write what waits, and close all connections."""
        await self._submitting.close()
        if self._listening is not None:
            await self._listening.close()
        await self.engine.close()
        if self._lock is not None:
            self._lock.release()

    async def submit(self, new: NewPrediction) -> tuple[Prediction, bool]:
        """As `Predictions.submit`."""
        return await self._submitting.submit(new)

    async def get(self, prediction_id: str, owner: str | None) -> Prediction:
        """As `Predictions.get`."""
        return await self._finding.get(prediction_id, owner)

    async def input(self, prediction_id: str, owner: str | None) -> Payload:
        """As `Predictions.input`."""
        return await self._finding.input(prediction_id, owner)

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """As `Predictions.existing`."""
        return await self._finding.existing(ids)

    async def position(self, prediction: Prediction) -> int | None:
        """As `Predictions.position`."""
        return await self._finding.position(prediction)

    async def find(self, wanted: Filter, limit: int, cursor: str | None) -> Page:
        """As `Predictions.find`."""
        return await self._finding.find(wanted, limit, cursor)

    async def cancel(self, prediction_id: str, owner: str | None) -> Prediction:
        """As `Predictions.cancel`."""
        await self._finding.get(prediction_id, owner)
        await self._endings.end([Ending(prediction_id, State.CANCELED)])
        return await self._finding.get(prediction_id, owner)

    async def end(self, endings: Sequence[Ending]) -> list[str]:
        """As `Predictions.end`."""
        return await self._endings.end(endings)

    async def expire(self, now_s: float, limit: int) -> Expired:
        """As `Predictions.expire`."""
        await self._claiming.bury()
        return await expire(self.engine, now_s, limit)

    def on_webhooks(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when webhooks were written, where the database itself does not tell (SQLite)."""
        self._endings.webhooks_written = wake

    def changes(self, prediction_id: str) -> AbstractAsyncContextManager[AsyncIterator[State]]:
        """As `Predictions.changes`."""
        return self.news.watch(prediction_id, lambda: self._finding.state(prediction_id))

    async def claim(self, model: str, holder: str, limit: int, nbytes: int = CLAIM_BYTES) -> list[Claim]:
        """As `Claims.claim`."""
        return await self._claiming.claim(model, holder, limit, nbytes)

    async def held(self, model: str, holder: str) -> list[str]:
        """As `Claims.held`."""
        return await self._claiming.held(model, holder)

    async def backlog(self) -> list[Backlog]:
        """As `Claims.backlog`."""
        return await self._claiming.backlog()

    async def give_back(self, holder: str, ids: Sequence[str] | None = None) -> None:
        """As `Claims.give_back`."""
        await self._claiming.give_back(holder, ids)

    async def renew(self, holder: str, lease_s: float) -> None:
        """As `Claims.renew`."""
        await self._claiming.renew(holder, lease_s)

    def arrivals(self, model: str, wake: Callable[[], None]) -> Callable[[], None]:
        """As `Claims.arrivals`."""
        return self.news.arrivals(model, wake)

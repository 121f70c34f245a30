"""Webhooks in the database: written with their endings, claimed under leases by the database's clock.

    end(...): write_webhooks(engine, connection, ended)   in the ending's own transaction, told to who waits when it commits

Invariant: a row has one lease at a time, and is changed only by that lease's holder or by the claim that follows its end.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from penstock.errors import UpstreamUnavailable
from penstock_transformer.predictions.database.engine import Engine, connect_postgres
from penstock_transformer.predictions.database.tables import webhook_deliveries as table
from penstock_transformer.predictions.resource import Prediction
from penstock_transformer.predictions.webhook_port import Settled, Webhook, webhook_body, webhook_id

logger = logging.getLogger(__name__)

CHANNEL = "penstock_webhooks"
# A claim looks at this many times what it may take, so that hosts with much waiting do not fill its view.
_VIEW = 4
# Where the notification's connection is lost, and for SQLite written by another process: how long a webhook may wait unseen.
_UNSEEN_S = 5.0
_OTHERS_S = 0.02


def write_webhooks(engine: Engine, connection: sa.Connection, ended: Sequence[Prediction]) -> int:
    """Write the webhooks of predictions that this very transaction ends; how many. Nothing is told before it commits."""
    rows = [_row(prediction) for prediction in ended if prediction.webhook]
    if rows:
        connection.execute(sa.insert(table).values(due_s=engine.now), rows)
        if not engine.is_sqlite:
            connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))
    return len(rows)


def _row(prediction: Prediction) -> dict[str, Any]:
    url = prediction.webhook or ""
    return {
        "id": webhook_id(prediction.id),
        "prediction_id": prediction.id,
        "url": url,
        "host": (urlsplit(url).hostname or "").lower(),
        "body": webhook_body(prediction),
    }


class DatabaseWebhooks:
    """A `WebhookQueue` over the table. `start` before use; `wake` may be called by whoever writes webhooks in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._written = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen (PostgreSQL)."""
        if not self._engine.is_sqlite:
            self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    def wake(self) -> None:
        """A webhook has been written and committed."""
        self._written.set()

    async def claim(self, limit: int, lease_s: float, per_host: int, under_way: Mapping[str, int]) -> list[Webhook]:
        now = self._engine.now
        full = [host for host, count in under_way.items() if count >= per_host]
        due = (table.c.due_s <= now) & table.c.host.not_in(full)
        candidates = sa.select(table.c.id, table.c.host).where(due).order_by(table.c.due_s).limit(limit * _VIEW)
        lease = {"lease": secrets.token_hex(8), "due_s": now + lease_s, "attempts": table.c.attempts + 1}

        def anything(connection: sa.Connection) -> bool:
            return connection.execute(candidates.limit(1)).first() is not None

        def take(connection: sa.Connection) -> list[Any]:
            found = connection.execute(candidates.with_for_update(skip_locked=True)).all()
            chosen = _choose(found, limit, per_host, under_way)
            if not chosen:
                return []
            taken = sa.update(table).where(table.c.id.in_(chosen)).values(lease).returning(*table.c)
            rows = {row.id: row for row in connection.execute(taken)}
            return [rows[one] for one in chosen if one in rows]

        # First without the writer's lock, which SQLite has but one of: mostly there is nothing to do.
        if not await self._engine.read(anything):
            return []
        return [_webhook(row) for row in await self._engine.write(take)]

    async def settle(self, settled: Settled) -> bool:
        ours = (table.c.id == settled.id) & (table.c.lease == settled.lease)
        if settled.again_s is None:
            statement: Any = sa.delete(table).where(ours)
        else:
            statement = sa.update(table).where(ours).values(lease=None, due_s=self._engine.now + settled.again_s)
        return await self._engine.write(lambda connection: bool(connection.execute(statement).rowcount))

    async def wait(self, timeout_s: float, busy_hosts: Sequence[str]) -> None:
        first = sa.select(sa.func.min(table.c.due_s) - self._engine.now).where(table.c.host.not_in(list(busy_hosts)))
        until_s = await self._engine.read(lambda connection: connection.execute(first).scalar())
        # What is due and could not be claimed is in another's hands at this moment.
        wait_s = min(timeout_s, _UNSEEN_S, float("inf") if until_s is None else max(_OTHERS_S, until_s))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._written.wait()
        self._written.clear()

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except (OSError, UpstreamUnavailable, _postgres_error()) as error:
                logger.warning("webhooks: not notified for now", extra={"reason": type(error).__name__})
            await asyncio.sleep(_UNSEEN_S)

    async def _listen_once(self) -> None:
        connection = await connect_postgres(self._engine.address, self._engine.settings)
        ended = asyncio.Event()
        try:
            connection.add_termination_listener(lambda *_: ended.set())
            await connection.add_listener(CHANNEL, lambda *_: self.wake())
            self.wake()
            await ended.wait()
        finally:
            connection.terminate()


def _choose(found: Sequence[Any], limit: int, per_host: int, under_way: Mapping[str, int]) -> list[str]:
    """The first of each host, as many as it may have, up to `limit` in all."""
    hosts = dict(under_way)
    chosen: list[str] = []
    for row in found:
        taken = hosts.get(row.host, 0)
        if taken < per_host and len(chosen) < limit:
            hosts[row.host] = taken + 1
            chosen.append(row.id)
    return chosen


def _webhook(row: Any) -> Webhook:
    return Webhook(row.id, row.prediction_id, row.url, row.host, bytes(row.body), row.attempts, row.lease)


def _postgres_error() -> type[Exception]:
    import asyncpg

    found: type[Exception] = asyncpg.PostgresError
    return found

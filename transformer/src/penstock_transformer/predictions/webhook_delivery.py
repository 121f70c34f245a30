"""The delivery of webhooks as a part of a process: whichever ends predictions, or looks after their database.

    WebhookDelivery(predictions, settings).start() -> queue listening -> Deliverer.run ... stop() -> what is under way is finished

Without a secret there are no webhooks, and it does nothing. httpx is imported when it starts.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from prometheus_client.core import Metric

from penstock_transformer.predictions.database.engine import Engine
from penstock_transformer.predictions.database.webhooks import DatabaseWebhooks
from penstock_transformer.predictions.webhook_sending import Sender
from penstock_transformer.predictions.webhook_settings import WebhookSettings
from penstock_transformer.predictions.webhook_target import Policy
from penstock_transformer.predictions.webhooks import Deliverer


class Database(Protocol):
    """What it needs of `DatabasePredictions`."""

    engine: Engine

    def on_webhooks(self, wake: "Wake") -> None: ...


class Wake(Protocol):
    """Called when webhooks were written."""

    def __call__(self) -> None: ...


class WebhookDelivery:
    """Delivers the webhooks of one database, from one process of possibly several."""

    def __init__(self, database: Database, settings: WebhookSettings) -> None:
        self._database = database
        self._settings = settings
        self._policy = Policy(settings)
        self._queue: DatabaseWebhooks | None = None
        self._deliverer: Deliverer | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to deliver, what an earlier process left included."""
        if not self._settings.webhook_secret:
            return
        self._queue = DatabaseWebhooks(self._database.engine)
        await self._queue.start()
        self._database.on_webhooks(self._queue.wake)
        sender = await asyncio.to_thread(Sender, self._settings, self._policy)
        self._deliverer = Deliverer(self._queue, sender, self._settings)
        self._running = asyncio.create_task(self._deliverer.run())

    async def stop(self) -> None:
        """Finish what is under way; what is due later is the next process's."""
        if self._deliverer is not None:
            self._deliverer.stop()
        if self._running is not None:
            await self._running
        if self._queue is not None:
            await self._queue.close()
        self._policy.close()

    def families(self) -> Iterable[Metric]:
        """Its metrics."""
        return [] if self._deliverer is None else self._deliverer.families()

"""What stands behind predictions once their database is open: the store, large bodies, the queue's drain, what removes the old.

    Backing.open(url) -> store.start, objects.start -> drain, expiry, sweep        intake stops first, the store closes last

Invariant: an object is deleted only after the row that names it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, cast

from prometheus_client.core import Metric

from penstock.errors import PenstockError
from penstock.failpoints import failpoint
from penstock_transformer.predictions.claim_check import ClaimCheck
from penstock_transformer.predictions.draining import Drain, Pipelines
from penstock_transformer.predictions.object_settings import objects_beside
from penstock_transformer.predictions.opening import Store, import_client, open_store, path_of
from penstock_transformer.predictions.settings import MEMORY, PredictionsSettings

if TYPE_CHECKING:
    from penstock_transformer.predictions.webhook_delivery import WebhookDelivery

logger = logging.getLogger(__name__)

EXPIRE_EVERY_S = 30.0
EXPIRE_AT_ONCE = 500

Opener = Callable[[str], Store]


class Backing:
    """One opened database with all that works on it. On the event loop's thread."""

    def __init__(self, store: Store, claims: ClaimCheck, drain: Drain) -> None:
        self.store = store
        self.claims = claims
        self._drain = drain
        self._webhooks: WebhookDelivery | None = None
        self._tasks = [asyncio.create_task(self._expire())]

    @classmethod
    async def open(cls, url: str, settings: PredictionsSettings, pipelines: Pipelines, opener: Opener = open_store) -> "Backing":
        """Open it and begin to work. Raises InvalidInput for what no waiting mends, UpstreamUnavailable."""
        # The first import of a database's client takes a second, in which others are served.
        await asyncio.to_thread(import_client, url)
        store = opener(url)
        path = path_of(url)
        address = settings.objects or (None if path is None else objects_beside(path))
        objects = None
        if address is not None:
            from penstock_transformer.predictions.objects import open_objects

            objects = open_objects(address, most_bytes=settings.object_bytes, timeout_s=settings.objects_timeout_s)
            await objects.start()
        await store.start()
        # In memory a large body lies as well as anywhere.
        claims = ClaimCheck(objects, settings.object_bytes if url == MEMORY else settings.inline_bytes)
        drain = Drain(store, pipelines, claims, None if objects is None else objects.get)
        drain.start()
        backing = cls(store, claims, drain)
        if settings.webhook_secret and url != MEMORY:
            backing._webhooks = await _webhooks(store, settings)
        if objects is not None and settings.objects_sweep_s > 0:
            from penstock_transformer.predictions.sweep import sweep_every

            sweeping = sweep_every(
                objects, store.existing, every_s=settings.objects_sweep_s, result_s=settings.objects_keep_s
            )  # fmt: skip
            backing._tasks.append(asyncio.create_task(sweeping))
        return backing

    async def stop_intake(self) -> None:
        """Take nothing more from the queue; what was taken is ended or given back when this returns."""
        await self._drain.stop()

    def families(self) -> Iterable[Metric]:
        """Metrics of what works here."""
        return [] if self._webhooks is None else self._webhooks.families()

    async def close(self) -> None:
        """Close everything; after `stop_intake`."""
        if self._webhooks is not None:
            await self._webhooks.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

    async def _expire(self) -> None:
        while True:
            try:
                removed = EXPIRE_AT_ONCE
                while removed >= EXPIRE_AT_ONCE:
                    expired = await self.store.expire(time.time(), EXPIRE_AT_ONCE)
                    failpoint("expire.removed")
                    await self.claims.discard(expired.references)
                    removed = expired.removed
            except PenstockError as error:
                logger.warning("predictions could not be removed", extra={"reason": error.message})
            await asyncio.sleep(EXPIRE_EVERY_S)


async def _webhooks(store: Store, settings: PredictionsSettings) -> "WebhookDelivery":
    from penstock_transformer.predictions.webhook_delivery import Database, WebhookDelivery

    delivery = WebhookDelivery(cast(Database, store), settings)
    await delivery.start()
    return delivery

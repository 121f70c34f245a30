"""One stream of updates, put together: topics, store, intake and outlet under the worker's shell.

    sets, layout, store -> Stream.start: store reached, topics there -> WorkerShell -> stopped

A broker or store that is away at the start is waited for, as it is later.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from penstock.errors import UpstreamUnavailable
from penstock.features.spec import StoreLayout
from penstock_transformer.broker.opening import open_at_least_once, open_intake, open_outlet, transactional_id
from penstock_transformer.broker.port import BrokerError, Intake, Outlet
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.settings import StoreSettings
from penstock_transformer.updates.letters_only import LettersOnly
from penstock_transformer.updates.settings import StreamSettings
from penstock_transformer.updates.topics import letters_topic, prepare_topics, updates_topic
from penstock_transformer.updates.update import UpdateReader
from penstock_transformer.updates.updating import FeatureSet, StoreUpdating
from penstock_transformer.worker.backoff import Backoff
from penstock_transformer.worker.dead_letters import DeadLetters
from penstock_transformer.worker.effects import Stop
from penstock_transformer.worker.shell import WorkerShell

logger = logging.getLogger(__name__)


class Stream:
    """Updates of feature sets into one store. `views` maps the sets' names to views of `layout`. On the event loop."""

    def __init__(self, settings: StreamSettings, views: Mapping[str, str], layout: StoreLayout, store_url: str) -> None:
        self._settings = settings
        self._names = tuple(views)
        self._store = open_store(store_url, layout, StoreSettings(timeout_s=settings.write_timeout_s))
        sets = {
            updates_topic(name): FeatureSet(
                UpdateReader(view, layout.views[view], layout.key_serialization), DeadLetters(letters_topic(name))
            )
            for name, view in views.items()
        }
        self.updating = StoreUpdating(sets, self._store, batch_rows=settings.batch_rows)
        self.shell: WorkerShell | None = None
        self._topics = list(sets)

    async def start(self) -> None:
        """Reach store and broker, however long it takes, and begin. Raises BrokerError, InvalidInput for what stays wrong."""
        await _patiently("feature store", self._store.start)
        await _patiently("broker", lambda: asyncio.to_thread(prepare_topics, self._settings, self._names))
        intake, outlet = await self._opened()
        self.shell = WorkerShell(
            intake,
            LettersOnly(outlet),
            self.updating,
            self._topics,
            policy=self._settings.policy,
            poll_records=self._settings.poll_records,
        )
        await self.shell.start()

    async def drain(self, grace_s: float) -> None:
        """Read no more; write and commit what was read."""
        if self.shell is not None:
            await self.shell.drain(grace_s)

    async def close(self) -> None:
        """Leave the group, close the store."""
        if self.shell is not None:
            await self.shell.close()
        await self.updating.close()
        await self._store.close()

    async def stopped(self) -> Stop:
        """How it ended. After `start`."""
        assert self.shell is not None
        return await asyncio.shield(self.shell.stopped)

    async def _opened(self) -> tuple[Intake, Outlet]:
        settings, group = self._settings, self._settings.group(self._names)
        intake = await asyncio.to_thread(open_intake, settings, group)
        if settings.delivery == "at-least-once":
            return intake, open_at_least_once(settings)
        return intake, open_outlet(settings, transactional_id(settings, group))


async def _patiently(what: str, reach: Callable[[], Awaitable[None]]) -> None:
    backoff, random, tries = Backoff(), Random(), 0
    while True:
        try:
            await reach()
            return
        except UpstreamUnavailable as error:
            if isinstance(error, BrokerError) and not error.retryable:
                raise
            tries += 1
            if tries == 1:
                logger.warning("waiting", extra={"part": what, "reason": error.message})
        await asyncio.sleep(backoff.delay_s(tries, random))

"""One stream of updates, put together: topics, store, intake and outlet under the worker's shell.

    sets, layout, store -> Stream.start: store reached, topics there -> WorkerShell -> stopped

A broker or store that is away at the start is waited for, as it is later.
"""

import asyncio
from collections.abc import Mapping

from penstock.features.spec import StoreLayout
from penstock_transformer.broker.opening import open_both
from penstock_transformer.reaching import reached
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.settings import StoreSettings
from penstock_transformer.updates.letters_only import LettersOnly
from penstock_transformer.updates.settings import StreamSettings
from penstock_transformer.updates.topics import letters_topic, prepare_topics, updates_topic
from penstock_transformer.updates.update import UpdateReader
from penstock_transformer.updates.updating import FeatureSet, StoreUpdating
from penstock_transformer.worker.dead_letters import DeadLetters
from penstock_transformer.worker.effects import Stop
from penstock_transformer.worker.shell import WorkerShell


class Stream:
    """Updates of feature sets into one store. `views` maps the sets' names to views of `layout`. On the event loop."""

    def __init__(self, settings: StreamSettings, views: Mapping[str, str], layout: StoreLayout, store_url: str) -> None:
        self._settings = settings
        self._names = tuple(views)
        self._store = open_store(store_url, layout, StoreSettings(timeout_s=settings.write_timeout_s))
        sets = {
            updates_topic(name): FeatureSet(
                UpdateReader(view, layout.views[view], layout.key_serialization), DeadLetters(letters_topic(name), timed=True)
            )
            for name, view in views.items()
        }
        self.updating = StoreUpdating(sets, self._store, batch_rows=settings.batch_rows)
        self.shell: WorkerShell | None = None
        self._topics = list(sets)

    async def start(self) -> None:
        """Reach store and broker, however long it takes, and begin. Raises BrokerError, InvalidInput for what stays wrong."""
        settings, group = self._settings, self._settings.group(self._names)
        await reached("feature store", self._store.start)
        await reached("broker", lambda: asyncio.to_thread(prepare_topics, settings, self._names))
        intake, outlet = await reached("broker", lambda: asyncio.to_thread(open_both, settings, group, settings.delivery))
        self.shell = WorkerShell(
            intake,
            LettersOnly(outlet),
            self.updating,
            self._topics,
            policy=settings.policy,
            poll_records=settings.poll_records,
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

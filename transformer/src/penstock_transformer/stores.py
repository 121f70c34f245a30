"""Feature stores in use: one connection per layout, shared by the bundles that were built against the same one."""

import asyncio
from collections.abc import Callable

from penstock.errors import UpstreamUnavailable
from penstock.features.spec import StoreLayout
from penstock_transformer.store.port import FeatureStore

Opener = Callable[[StoreLayout], FeatureStore]


class Lease:
    """A share in a store; the last release closes it."""

    def __init__(self, stores: "Stores", layout: StoreLayout, store: FeatureStore) -> None:
        self.store = store
        self.layout = layout
        self._stores = stores

    async def release(self) -> None:
        await self._stores.release(self)


class Stores:
    """Opens stores by layout. `opener` None: no store is configured, and every read answers so.

    A store that cannot be reached when a bundle is loaded does not keep the bundle from being used: reads answer 503, or with
    defaults where the spec allows it, until the store is back.
    """

    def __init__(self, opener: Opener | None) -> None:
        self._opener = opener
        self._open: list[tuple[StoreLayout, FeatureStore, int]] = []
        self._lock = asyncio.Lock()

    async def lease(self, layout: StoreLayout) -> Lease | None:
        """The store for a layout, opened if it is the first to ask. None if no store is configured."""
        if self._opener is None:
            return None
        async with self._lock:
            for at, (known, store, users) in enumerate(self._open):
                if known == layout:
                    self._open[at] = (known, store, users + 1)
                    return Lease(self, layout, store)
            store = self._opener(layout)
            try:
                await self._start(store)
            except BaseException:
                await store.close()
                raise
            self._open.append((layout, store, 1))
            return Lease(self, layout, store)

    async def release(self, lease: Lease) -> None:
        """Give a share back."""
        async with self._lock:
            for at, (known, store, users) in enumerate(self._open):
                if store is lease.store:
                    if users > 1:
                        self._open[at] = (known, store, users - 1)
                        return
                    del self._open[at]
                    await store.close()
                    return

    async def _start(self, store: FeatureStore) -> None:
        try:
            await store.start()
        except UpstreamUnavailable:
            return

"""Stores in use: one per layout, closed with its last lease, and never left open by a bundle that could not be loaded."""

import pytest

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.features.spec import StoreLayout
from penstock.testing.bundles import FakePredictor, bundle_files, digest_of
from penstock_transformer.active import ActiveBundle
from penstock_transformer.loading import load_bundle
from penstock_transformer.memory_store import MemoryStore
from penstock_transformer.stores import Stores


class Opened:
    """An opener that remembers its stores; `fault` is what their `start` raises."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.stores: list[MemoryStore] = []
        self.fault = fault

    def __call__(self, layout: StoreLayout) -> MemoryStore:
        store = MemoryStore(layout)

        async def start() -> None:
            if self.fault is not None:
                raise self.fault

        store.start = start
        self.stores.append(store)
        return store


LAYOUT, OTHER = StoreLayout("one", 3, {}), StoreLayout("two", 3, {})


def test_one_store_a_layout_until_the_last_lease_is_released(run):
    async def go():
        opened = Opened()
        stores = Stores(opened)
        first, second, other = await stores.lease(LAYOUT), await stores.lease(LAYOUT), await stores.lease(OTHER)
        assert first.store is second.store is opened.stores[0]
        assert other.store is opened.stores[1]
        await first.release()
        assert not first.store.closed
        await second.release()
        assert (first.store.closed, other.store.closed) == (True, False)
        assert (await stores.lease(LAYOUT)).store is opened.stores[2]

    run(go())


def test_a_store_that_is_away_is_used_all_the_same(run):
    async def go():
        lease = await Stores(Opened(UpstreamUnavailable("away"))).lease(LAYOUT)
        assert not lease.store.closed

    run(go())


@pytest.mark.parametrize("fault", [InvalidInput("no such driver"), RuntimeError("nobody thought of this")])
def test_a_store_that_can_never_be_opened_is_closed(run, fault):
    async def go():
        opened = Opened(fault)
        with pytest.raises(type(fault)):
            await Stores(opened).lease(LAYOUT)
        assert opened.stores[0].closed

    run(go())


def test_a_bundle_that_cannot_be_warmed_gives_its_store_back(run, features, monkeypatch):
    files = bundle_files(features)

    async def broken(_bundle):
        raise InvalidInput("the encoder cannot be run")

    monkeypatch.setattr(ActiveBundle, "warm", broken)

    async def go():
        opened = Opened()
        with pytest.raises(InvalidInput):
            await load_bundle(FakePredictor(files), "flights", digest_of(files), Stores(opened))
        assert opened.stores[0].closed

    run(go())

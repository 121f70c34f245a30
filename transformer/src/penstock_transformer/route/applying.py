"""A route that is wanted becomes the route that is applied: all of its bundles warm, then one swap, or nothing at all.

    RouteSpec --> bundles loaded or kept --> RouteTable.apply --> what the route no longer names is let go after its last batch

Loading outlives the attempt that began it: a newer route that names the same bundle finds it half-way, one that does not ends it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from penstock.dataplane import DataPlane
from penstock.errors import WrongBundle
from penstock_transformer.active import ActiveBundle
from penstock_transformer.loading import Close, foreign_bundle, load_bundle
from penstock_transformer.route_file import RouteEntry, RouteSpec
from penstock_transformer.routing import Route, Target, elsewhere
from penstock_transformer.routing_table import RouteTable
from penstock_transformer.stores import Stores

logger = logging.getLogger(__name__)

Connect = Callable[[str], tuple[DataPlane, Close]]
Key = tuple[str, str, str, str, str]


class RouteApplier:
    """Applies routes to a table, one attempt at a time. `ahead` is called right before a route takes the table over."""

    def __init__(self, table: RouteTable, stores: Stores, connect: Connect) -> None:
        self.connect = connect
        self.ahead: Callable[[], None] | None = None
        self._table = table
        self._stores = stores
        self._active: dict[Key, ActiveBundle] = {}
        self._loading: dict[Key, asyncio.Task[ActiveBundle]] = {}
        self._applied: frozenset[Key] = frozenset()

    async def apply(self, spec: RouteSpec) -> None:
        """Bring in what the route names, and swap. May be cancelled. Raises what the first bundle that cannot be had raises."""
        wanted = {_key(entry): entry for entry in spec.bundles}
        self._let_go(wanted.keys() | self._applied)
        tasks = [self._load(key, entry, spec.model) for key, entry in wanted.items() if key not in self._active]
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            task.result()
        pairs = [(entry, self._active[key]) for key, entry in wanted.items()]
        live = live_targets([(entry, bundle) for entry, bundle in pairs if entry.mode == "live"])
        shadows = tuple(Target(bundle, fraction=entry.fraction) for entry, bundle in pairs if entry.mode == "shadow")
        if self.ahead is not None:
            self.ahead()
        self._table.on_refused = self._elsewhere
        self._table.apply(Route(spec.revision, live, shadows))
        self._applied = frozenset(wanted)
        self._let_go(self._applied)
        extra = {"model": spec.model, "revision": spec.revision, "bundles": [bundle.label for _, bundle in pairs]}
        logger.info("route applied", extra=extra)

    async def close(self) -> None:
        """End what is being loaded, and close what was loaded for a route that was never applied."""
        tasks = list(self._loading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        unused = [bundle.retire() for key, bundle in self._active.items() if key not in self._applied]
        await asyncio.gather(*(task for task in unused if task is not None), return_exceptions=True)

    async def _elsewhere(self, refused: ActiveBundle, _error: WrongBundle) -> ActiveBundle | None:
        return elsewhere(self._table.route, refused)

    def _let_go(self, kept: "frozenset[Key] | set[Key]") -> None:
        for key in [key for key in self._loading if key not in kept]:
            self._loading.pop(key).cancel()
        for key in [key for key in self._active if key not in kept]:
            self._active.pop(key).retire()

    def _load(self, key: Key, entry: RouteEntry, model: str) -> "asyncio.Task[ActiveBundle]":
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.ensure_future(self._loaded(entry, model))
            task.add_done_callback(lambda done: self._keep(key, done))
        return task

    def _keep(self, key: Key, done: "asyncio.Task[ActiveBundle]") -> None:
        if self._loading.get(key) is done:
            del self._loading[key]
            if not done.cancelled() and done.exception() is None:
                self._active[key] = done.result()
        elif not done.cancelled() and done.exception() is None:
            # It was given up, and came all the same.
            done.result().retire()

    async def _loaded(self, entry: RouteEntry, model: str) -> ActiveBundle:
        predictor, close = self.connect(entry.predictor)
        try:
            return await self._bundle(entry, predictor, entry.model or model, close)
        except BaseException:
            await close()
            raise

    async def _bundle(self, entry: RouteEntry, predictor: DataPlane, model: str, close: Close) -> ActiveBundle:
        if entry.verify == "none":
            metadata = await predictor.metadata(model)
            identity = entry.digest or f"{entry.predictor} {entry.model or ''}"
            return foreign_bundle(predictor, model, metadata, identity=identity, close=close)
        return await load_bundle(predictor, model, entry.digest, self._stores, close=close)


def live_targets(pairs: Sequence[tuple[RouteEntry, ActiveBundle]]) -> tuple[Target, ...]:
    """Targets of live entries and their bundles, arms behind all others, so that who looks for a bundle finds its own entry."""
    weights: dict[str, float] = {}
    for entry, bundle in pairs:
        weights[bundle.identity] = weights.get(bundle.identity, 0.0) + entry.weight
    return tuple(
        Target(bundle, weight=entry.weight, arm=entry.arm, together=weights[bundle.identity])
        for entry, bundle in sorted(pairs, key=lambda pair: bool(pair[0].arm))
    )


def _key(entry: RouteEntry) -> Key:
    return entry.digest, entry.predictor, entry.model or "", entry.verify, entry.arm

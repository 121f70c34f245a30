"""Without a route file: follow the digest that the one predictor names.

    predictor's metadata --poll--> digest --new--> load_bundle --> RouteTable.apply
    a call refused with another digest --refused()--> the bundle that the pod does hold

While a Deployment rolls, pods of two bundles answer at one address. Both are kept then: a call that meets the other bundle's
pod is encoded again with that pod's bundle, so a request can be late, never answered by encodings of one bundle and the model
of another.
"""

import asyncio
import logging
import time

from penstock.dataplane import DataPlane
from penstock.errors import PenstockError, WrongBundle
from penstock_transformer.active import ActiveBundle
from penstock_transformer.loading import foreign_bundle, load_bundle
from penstock_transformer.predictor_client import OtherBundle
from penstock_transformer.route.status import RouteStatus
from penstock_transformer.routing import Route, Target
from penstock_transformer.routing_table import RouteTable
from penstock_transformer.stores import Stores

logger = logging.getLogger(__name__)

_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 2.0
_FETCH_ATTEMPTS = 8


class Follower:
    """Keeps the route at what the predictor holds. `poll_s`: how often it is asked; `keep_s`: how long a bundle that the
    predictor no longer names is kept, for pods that still hold it."""

    def __init__(
        self,
        table: RouteTable,
        predictor: DataPlane,
        status: RouteStatus,
        stores: Stores,
        *,
        poll_s: float = 5.0,
        keep_s: float = 60.0,
    ) -> None:
        self._table = table
        self._predictor = predictor
        self._status = status
        self._model = status.model
        self._stores = stores
        self._poll_s = poll_s
        self._keep_s = keep_s
        self._known: dict[str, ActiveBundle] = {}
        self._named_at: dict[str, float] = {}
        self._loading: dict[str, asyncio.Task[ActiveBundle | None]] = {}
        self._poller: asyncio.Task[None] | None = None
        self._stopped = False
        table.on_refused = self.refused

    async def start(self) -> None:
        """Return when the first bundle is in use, however long the predictor takes; then go on polling."""
        retry_s = _FIRST_RETRY_S
        while not await self._poll():
            if self._stopped:
                return
            await asyncio.sleep(retry_s)
            retry_s = min(_LAST_RETRY_S, retry_s * 2)
        self._poller = asyncio.create_task(self._run())

    def stop(self) -> None:
        """From now on the table is somebody else's: what is being loaded comes to nothing, nobody who waits for it is hurt."""
        self._stopped = True
        self._table.on_refused = None
        if self._poller is not None:
            self._poller.cancel()

    async def close(self) -> None:
        """Stop polling and loading."""
        self._stopped = True
        tasks = [t for t in (self._poller, *self._loading.values()) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def refused(self, _bundle: ActiveBundle, error: WrongBundle) -> ActiveBundle | None:
        """The bundle that the refusing pod named, fetched if it is new; None if it cannot be had."""
        digest = error.found if isinstance(error, OtherBundle) else await self._ask()
        return await self._take(digest) if digest else None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self._poll()
            except Exception:
                # A bundle that cannot be loaded in a way that nobody foresaw must not end the watch for the next one.
                logger.exception("following the predictor failed", extra={"model": self._model})

    async def _poll(self) -> bool:
        try:
            digest = await self._ask()
            found = await self._take(digest) is not None
            self._status.unfollowed = ""
            return found
        except PenstockError as error:
            if str(error) != self._status.unfollowed:
                self._status.unfollowed = str(error)
                logger.warning("predictor not followed", extra={"model": self._model, "reason": str(error)})
            return False

    async def _ask(self) -> str:
        metadata = await self._predictor.metadata(self._model)
        digest = metadata.bundle.rpartition("@")[2]
        if not digest and "" not in self._known:
            logger.warning("predictor names no bundle; its answers are not verified", extra={"model": self._model})
            self._known[""] = foreign_bundle(self._predictor, self._model, metadata)
        return digest

    async def _take(self, digest: str) -> ActiveBundle | None:
        """Use this bundle from now on; load it first if it is new."""
        bundle = self._known.get(digest)
        if bundle is None:
            task = self._loading.get(digest)
            if task is None:
                task = self._loading[digest] = asyncio.create_task(self._load(digest))
                task.add_done_callback(lambda _: self._loading.pop(digest, None))
            bundle = await asyncio.shield(task)
            if bundle is None:
                return None
        if self._stopped:
            return None
        self._named_at[digest] = time.monotonic()
        self._apply(bundle)
        return bundle

    async def _load(self, digest: str) -> ActiveBundle | None:
        """Fetch until the files come from a pod that holds this bundle."""
        for attempt in range(_FETCH_ATTEMPTS):
            try:
                bundle = await load_bundle(self._predictor, self._model, digest, self._stores)
            except WrongBundle:
                await asyncio.sleep(0.05 * attempt)
            else:
                if self._stopped:
                    bundle.retire()
                    return None
                self._known[digest] = bundle
                logger.info("bundle in use", extra={"model": self._model, "bundle": bundle.label})
                return bundle
        return None

    def _apply(self, newest: ActiveBundle) -> None:
        now = time.monotonic()
        for digest in [d for d in self._known if d != newest.digest and self._named_at.get(d, now) < now - self._keep_s]:
            self._known.pop(digest)
            self._named_at.pop(digest, None)
        route = self._table.route
        others = tuple(b for b in self._known.values() if b is not newest)
        if route is not None and route.live[0].bundle is newest and len(route.live) == 1 + len(others):
            return
        self._table.apply(Route(0, (Target(newest, 1.0), *(Target(b, 0.0) for b in others))))

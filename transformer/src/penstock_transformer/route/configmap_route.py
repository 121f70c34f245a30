"""The route from a ConfigMap: watched through the API, kept on disk, and the one predictor followed as long as there is none.

    KubeWatch --(event)--> ConfigMapState --newest only--> read, checked --> RouteKeeper --> applied --> RouteCache
    a get every few seconds -+                                |
      (confirms; finds what a dead watch missed)              +-> no ConfigMap, and never a route: Follower

Which route is in use when nothing can be asked: the one that is applied; at the start the one that was kept; without either the
predictor's, after some patience, unless the ConfigMap was named in the settings.

Invariant: what the API server cannot say changes nothing. A ConfigMap that is wrong, deleted or out of reach leaves the route as
it is.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from urllib.parse import quote

from penstock.errors import Internal, InvalidInput
from penstock_transformer.counters import Counters
from penstock_transformer.following import Follower
from penstock_transformer.kube_api import KubeApi, KubeApiError
from penstock_transformer.kube_watch import DENIED, DENIED_PAUSE_S, KubeWatch
from penstock_transformer.route.cache import Kept, RouteCache
from penstock_transformer.route.configmap import ConfigMapState, Seen, seen_of
from penstock_transformer.route.keeping import RouteKeeper
from penstock_transformer.route.status import RouteFault, RouteStatus
from penstock_transformer.route.succession import Accepted, check_succession
from penstock_transformer.route_file import RouteSpec, read_route, revision_of

logger = logging.getLogger(__name__)

# A get that takes longer confirms nothing.
_GET_S = 3.0
_LONGEST_PAUSE_S = 5.0
# Reading more than this holds up requests for longer than a thread costs.
_INLINE_CHARACTERS = 2048
PATIENCE_S = 10.0


class ConfigMapRoute:
    """Keeps the route at what the ConfigMap `name` says. `named`: it was asked for by name, so that nobody falls back from it
    for want of an answer; `follow` makes what follows the one predictor, None where there is no predictor of one's own."""

    def __init__(
        self,
        api: KubeApi,
        name: str,
        keeper: RouteKeeper,
        status: RouteStatus,
        counters: Counters,
        *,
        follow: Callable[[], Follower] | None = None,
        cache: RouteCache | None = None,
        named: bool = False,
        confirm_s: float = 4.0,
        patience_s: float | None = None,
    ) -> None:
        self.keeper = keeper
        self._api = api
        self._name = name
        self._model = status.model
        self._status = status
        self._counters = counters
        self._follow = follow
        self._cache = cache
        self._named = named
        self._confirm_s = confirm_s
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._state = ConfigMapState(name)
        self._path = f"/api/v1/namespaces/{quote(api.namespace)}/configmaps"
        selector = {"fieldSelector": f"metadata.name={name}"}
        self._watch = KubeWatch(
            api, self._path, selector, self._state, self._told, self._failed, longest_pause_s=_LONGEST_PAUSE_S
        )
        self._accepted: Accepted | None = None
        self._kept: Kept | None = None
        self._to_keep: Kept | None = None
        self._follower: Follower | None = None
        self._news, self._keeping, self._in_use = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._origin = self._reason = ""
        self._denied: RouteFault | None = None
        self._tasks: list[asyncio.Task[None]] = []
        keeper.on_applied = self._applied
        keeper.applier.ahead = self._take_over

    async def start(self) -> None:
        """Return when a route is applied, or the predictor's bundle is in use, however long that takes; then go on watching."""
        if self._cache is not None:
            self._kept = await asyncio.to_thread(self._cache.load)
        self.keeper.start()
        works = (self._watch.run(), self._confirm(), self._read(), self._keep(), self._lose_patience())
        self._tasks = [asyncio.create_task(work) for work in works]
        await self._in_use.wait()

    async def close(self) -> None:
        """Stop watching, following and applying."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._follower is not None:
            await self._follower.close()
        await self.keeper.close()

    # --- what the API server says

    def _told(self) -> None:
        self._status.confirmed()
        if self._reason:
            logger.info("route watched again", extra={"model": self._model, "configmap": self._name})
        if self._denied is not None and self._status.error is self._denied:
            self._status.error = None
        self._reason = ""
        self._news.set()

    def _failed(self, error: KubeApiError) -> None:
        reason = str(error)
        if reason != self._reason:
            self._reason = reason
            extra = {"model": self._model, "configmap": self._name, "reason": reason}
            logger.warning("route not watched, the last one stays", extra=extra)
        denied = error.status in DENIED
        if denied and self._status.error in (None, self._denied):
            self._status.error = self._denied = RouteFault(None, None, reason)
        if not self._state.known:
            self._go_by_what_was_kept(denied=denied)

    async def _confirm(self) -> None:
        """Ask, again and again, what the route is now: what that finds the watch has missed, or will say in a moment."""
        away, pause_s = False, self._confirm_s
        while True:
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))
            pause_s = self._confirm_s
            before = self._state.seen
            try:
                now = await self._get()
                # What the watch has told meanwhile may be newer than the answer.
                news = self._state.seen is before and self._state.take(now)
            except (KubeApiError, KeyError, TypeError, ValueError, AttributeError) as error:
                away = True
                if isinstance(error, KubeApiError) and error.status in DENIED:
                    pause_s = max(pause_s, DENIED_PAUSE_S)
                    self._failed(error)
                continue
            self._status.confirmed()
            if news:
                self._told()
            if news or away:
                # The connection may be dead without a word; another one costs little.
                self._watch.renew()
            away = False

    async def _get(self) -> Seen | None:
        try:
            return seen_of(await self._api.get(f"{self._path}/{quote(self._name)}", _GET_S))
        except KubeApiError as error:
            if error.status == 404:
                return None
            raise

    # --- what it means

    async def _read(self) -> None:
        """Take in what was seen last, whatever came before it."""
        while True:
            await self._news.wait()
            self._news.clear()
            seen = self._state.seen
            if seen is None:
                self._absent()
                continue
            revision = revision_of(seen.text) if seen.text is not None else None
            try:
                await self._accept(seen)
            except InvalidInput as error:
                self._refuse(RouteFault.of(revision, error))
                self._go_by_what_was_kept(denied=False)
            except Exception:
                # Whatever it was, the next change may be one to live with.
                logger.exception("reading the route failed", extra={"model": self._model, "configmap": self._name})
                self._refuse(RouteFault.of(revision, Internal()))
            self._status.most_apply(seen.most_apply)

    async def _accept(self, seen: Seen) -> None:
        """Raises InvalidInput for a route that is wrong."""
        if seen.text is None:
            raise InvalidInput(seen.wrong, field="data[route.yaml]")
        spec = await self._spec(seen.text)
        before = self._accepted or await self._before()
        check_succession(before, seen.uid, spec)
        self._accepted = Accepted(seen.uid, spec, seen.text)
        self._origin = "configmap"
        self.keeper.want(spec)
        if self.keeper.applied == spec:
            self._applied(spec)

    async def _before(self) -> Accepted | None:
        """What was accepted before this process began, as far as that was kept."""
        if self._kept is None or self._kept.text is None:
            return None
        with contextlib.suppress(InvalidInput):
            return Accepted(self._kept.uid, await self._spec(self._kept.text), self._kept.text)
        return None

    async def _spec(self, text: str) -> RouteSpec:
        if len(text) <= _INLINE_CHARACTERS:
            return read_route(text, self._model)
        return await asyncio.to_thread(read_route, text, self._model)

    def _refuse(self, fault: RouteFault) -> None:
        if fault == self._status.error:
            return
        self._counters.route_rejected += 1
        self._status.error = fault
        extra = {"model": self._model, "configmap": self._name, "revision": fault.revision, "field": fault.field}
        logger.error("route rejected, the one before stays", extra={**extra, "reason": fault.message})

    def _absent(self) -> None:
        if self.keeper.wanted is not None:
            logger.warning("route deleted, the last one stays", extra={"model": self._model, "configmap": self._name})
            self._status.error = RouteFault(None, None, f"the ConfigMap {self._name} is gone; the last route stays")
        elif self._kept is not None and self._kept.text is not None:
            self._go_by_what_was_kept(denied=False)
        else:
            self._to_keep = Kept("", None)
            self._keeping.set()
            self._follow_predictor("there is no ConfigMap with a route")

    # --- what there is in its stead

    def _go_by_what_was_kept(self, *, denied: bool) -> None:
        """The API server says nothing, or nothing of use, and no route is applied yet."""
        if self.keeper.wanted is not None or self._follower is not None:
            return
        kept = self._kept
        if kept is not None and kept.text is not None:
            try:
                spec = read_route(kept.text, self._model)
            except InvalidInput as error:
                self._kept = None
                logger.warning("kept route not used", extra={"model": self._model, "reason": str(error)})
            else:
                logger.warning("route as it was kept", extra={"model": self._model, "revision": spec.revision})
                seen = self._status.error
                self._accepted = Accepted(kept.uid, spec, kept.text)
                self._origin = "cache"
                self.keeper.want(spec)
                self._status.error = seen
        elif kept is not None or (denied and not self._named):
            self._follow_predictor("there was no ConfigMap" if kept is not None else "this pod may not read the ConfigMap")

    async def _lose_patience(self) -> None:
        if self._named:
            return
        await asyncio.sleep(self._patience_s)
        if not self._state.known:
            self._go_by_what_was_kept(denied=True)

    def _follow_predictor(self, reason: str) -> None:
        if self._follower is not None or self._follow is None or self.keeper.wanted is not None:
            return
        logger.info("predictor followed", extra={"model": self._model, "configmap": self._name, "reason": reason})
        self._status.source = "predictor"
        self._follower = self._follow()
        self._tasks.append(asyncio.create_task(self._followed(self._follower)))

    async def _followed(self, follower: Follower) -> None:
        await follower.start()
        self._in_use.set()

    # --- what becomes of it

    def _take_over(self) -> None:
        """A route is about to be applied: from here on the predictor is not followed."""
        if self._follower is not None:
            self._follower.stop()

    def _applied(self, spec: RouteSpec) -> None:
        self._in_use.set()
        accepted = self._accepted
        if accepted is not None and accepted.spec == spec:
            self._status.source = self._origin
            self._to_keep = Kept(accepted.uid, accepted.text)
            self._keeping.set()

    async def _keep(self) -> None:
        """Keep what is applied, one write at a time."""
        while self._cache is not None:
            await self._keeping.wait()
            self._keeping.clear()
            kept = self._to_keep
            if kept is not None and kept != self._kept:
                await asyncio.to_thread(self._cache.save, kept)
                self._kept = kept

"""The route that is wanted, and the one task that brings it about: the newest counts, whatever became of those before it.

    want(spec) --newest only--> attempt --applied--> settled
                    ^              | failed: again, with growing pauses, until it works or something newer is wanted
                    +--------------+ something newer is wanted: this attempt ends at once

Thousands of changes a minute cost what their last one costs. A roll-back never waits for a bundle that does not come.
"""

import asyncio
import logging
from collections.abc import Callable

from penstock.errors import Internal, PenstockError
from penstock_transformer.counters import Counters
from penstock_transformer.route.applying import RouteApplier
from penstock_transformer.route.status import RouteFault, RouteStatus
from penstock_transformer.route_file import RouteSpec

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class RouteKeeper:
    """Brings about what `want` was told last. `on_applied` hears of each route that was applied."""

    def __init__(self, applier: RouteApplier, status: RouteStatus, counters: Counters) -> None:
        self.applier = applier
        self.wanted: RouteSpec | None = None
        self.applied: RouteSpec | None = None
        self.on_applied: Callable[[RouteSpec], None] | None = None
        self.first = asyncio.Event()
        self._status = status
        self._counters = counters
        self._fault: RouteFault | None = None
        self._news = asyncio.Event()
        self._tried = asyncio.Event()
        self._tried.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; on a running loop."""
        self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """Stop, and let go of what was loaded in vain."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.applier.close()

    def want(self, spec: RouteSpec) -> None:
        """From now on this route is the one to apply; nothing that was seen before it is an error any more."""
        if spec == self.wanted:
            if spec == self.applied:
                self._status.error = None
            elif self._status.error is not self._fault:
                self._status.error = self._fault
            return
        self.wanted = spec
        self._status.error = self._fault = None
        self._tried.clear()
        self._news.set()

    async def settled(self) -> bool:
        """Wait until what is wanted has been applied or tried; whether it is applied."""
        await self._tried.wait()
        return self.applied is not None and self.applied == self.wanted

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            pause_s = _FIRST_PAUSE_S
            while self.wanted is not None and self.wanted != self.applied:
                self._news.clear()
                attempt = asyncio.ensure_future(self._attempt(self.wanted))
                newer = asyncio.ensure_future(self._news.wait())
                try:
                    await asyncio.wait({attempt, newer}, return_when=asyncio.FIRST_COMPLETED)
                    if attempt.done() and not attempt.result() and not self._news.is_set():
                        self._tried.set()
                        await asyncio.wait({newer}, timeout=pause_s)
                        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                finally:
                    attempt.cancel()
                    newer.cancel()
                    await asyncio.gather(attempt, newer, return_exceptions=True)
                if self._news.is_set():
                    pause_s = _FIRST_PAUSE_S
            self._news.clear()
            self._tried.set()

    async def _attempt(self, spec: RouteSpec) -> bool:
        try:
            await self.applier.apply(spec)
        except PenstockError as error:
            self._failed(spec, RouteFault.of(spec.revision, error))
            return False
        except Exception:
            # Whatever it was, the next route may be one to live with; a task that has ended would never see it.
            logger.exception("applying the route failed", extra={"model": spec.model, "revision": spec.revision})
            self._failed(spec, RouteFault.of(spec.revision, Internal()))
            return False
        self.applied = spec
        if self._status.error is self._fault:
            # Else it is of something that was refused since, and is still there.
            self._status.error = None
        self._status.applied(spec.revision)
        self.first.set()
        if self.on_applied is not None:
            self.on_applied(spec)
        return True

    def _failed(self, spec: RouteSpec, fault: RouteFault) -> None:
        self._counters.route_failed += 1
        if fault != self._fault:
            extra = {"model": spec.model, "revision": spec.revision, "field": fault.field, "reason": fault.message}
            logger.warning("route not applied yet", extra=extra)
        if self._status.error is self._fault:
            self._status.error = fault
        self._fault = fault

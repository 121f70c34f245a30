"""The route of the moment, and who is asked when a predictor turns out to hold another bundle.

    watcher or follower --apply--> RouteTable.route <-- pipeline (reads once a batch)

Swapping is one assignment on the event loop: a batch sees the old route or the new one, never a mixture.
"""

import logging
from collections.abc import Awaitable, Callable

from penstock.errors import PenstockError, WrongBundle
from penstock_transformer.active import ActiveBundle
from penstock_transformer.counters import Counters
from penstock_transformer.evidence.recorder import Recorder
from penstock_transformer.requests import PredictRequest
from penstock_transformer.routing import Route, elsewhere

logger = logging.getLogger(__name__)

Refused = Callable[[ActiveBundle, WrongBundle], Awaitable[ActiveBundle | None]]


class RouteTable:
    """Holds the route; None until the first one is applied. `on_refused` may find the bundle to try instead. `recorder` counts
    what requests do to the route's bundles."""

    def __init__(self, counters: Counters) -> None:
        self.route: Route | None = None
        # Whether rows may hold large values: images, lists, tensors. Worked out here, once a route, not once a request.
        self.heavy = True
        self.on_refused: Refused | None = None
        self.recorder = Recorder()
        self._counters = counters

    def apply(self, route: Route) -> None:
        """Swap the route; bundles that are in it no longer are closed once nothing uses them."""
        before, self.route = self.route, route
        self.heavy = any(b.plan is None or b.plan.heavy for b in route.bundles)
        self._counters.revision = route.revision
        self.recorder.apply(route)
        if before is not None:
            kept = set(map(id, route.bundles))
            for bundle in before.bundles:
                if id(bundle) not in kept:
                    bundle.retire()

    def instead(self, bundle: ActiveBundle, request: PredictRequest) -> ActiveBundle | None:
        """The bundle that may answer a request because its own has no pod: another live one that gets requests, and has the
        version that the request names; None for a request that names its bundle, and for a bundle that is not live."""
        found = elsewhere(self.route, bundle)
        if found is None or request.context.expect_bundle is not None or request.version not in (None, found.version):
            return None
        return found

    async def refused(self, bundle: ActiveBundle, error: WrongBundle) -> ActiveBundle | None:
        """The bundle that should be tried instead, or None to go by the route."""
        if self.on_refused is None:
            return None
        try:
            return await self.on_refused(bundle, error)
        except PenstockError as failure:
            logger.warning("no other bundle to try", extra={"bundle": bundle.label, "reason": str(failure)})
            return None

"""`GET /route` of the admin port, beside it `GET /evidence`, and what the route says of a process's readiness: the same for every
program that has a route."""

from typing import Any

from penstock.lifecycle import Lifecycle
from penstock.serving.admin import AdminRoutes
from penstock_transformer.evidence.admin import add_evidence
from penstock_transformer.route.status import merged
from penstock_transformer.transformer import Transformer


def add_route(transformer: Transformer, lifecycle: Lifecycle, routes: AdminRoutes | None = None) -> AdminRoutes:
    """Acknowledge the route applied on the admin port, tell its evidence, and hold readiness while there is none or it lags.
    Of several processes the one whose route is least far answers for all, and each tells its own evidence."""

    def answer() -> dict[str, Any]:
        return transformer.status.answer(transformer.table.route)

    async def applied(_: dict[str, Any]) -> dict[str, Any]:
        return answer()

    routes = routes if routes is not None else AdminRoutes()
    routes.add("GET", "/route", applied, merge=merged, summary="The route revision that is applied")
    add_evidence(transformer.table.recorder, transformer.model, routes, answer)
    lifecycle.add_check("route", transformer.status.lag)
    lifecycle.add_check("bundle", lambda: transformer.status.lack(transformer.table.route))
    return routes

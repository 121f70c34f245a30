"""Where a transformer's route comes from, by its settings.

--route_file                 -> RouteFileWatcher
--route_configmap, a cluster -> ConfigMapRoute, over a Follower for as long as there is no ConfigMap
neither                      -> Follower of the one predictor
"""

from collections.abc import Callable
from typing import Protocol

from penstock.dataplane import DataPlane
from penstock.errors import InvalidInput
from penstock_transformer.counters import Counters
from penstock_transformer.following import Follower
from penstock_transformer.kube_api import KubeApi
from penstock_transformer.route.applying import Connect, RouteApplier
from penstock_transformer.route.cache import RouteCache
from penstock_transformer.route.configmap_route import ConfigMapRoute
from penstock_transformer.route.file_watch import RouteFileWatcher
from penstock_transformer.route.keeping import RouteKeeper
from penstock_transformer.route.settings import AUTO, NONE
from penstock_transformer.route.status import RouteStatus
from penstock_transformer.routing_table import RouteTable
from penstock_transformer.settings import PipelineSettings
from penstock_transformer.stores import Stores


class RouteSource(Protocol):
    """Keeps a table's route at what somewhere else says."""

    async def start(self) -> None:
        """Return when the first route is in use."""

    async def close(self) -> None: ...


def route_source(
    settings: PipelineSettings,
    table: RouteTable,
    status: RouteStatus,
    stores: Stores,
    counters: Counters,
    connect: Connect,
    *,
    inside: DataPlane | None,
    outside: Callable[[], DataPlane] | None,
    api: KubeApi | None,
) -> RouteSource:
    """The source of these settings. `inside`: a predictor in this process, which is then the only one there is; `outside` makes
    the client of the one that `--predictor_host` names. `api`: the API server of this pod's cluster; None outside of one.

    Raises InvalidInput where a ConfigMap is named and there is no API server to read it from."""

    def keeper() -> RouteKeeper:
        return RouteKeeper(RouteApplier(table, stores, connect), status, counters)

    def followed(predictor: DataPlane) -> Follower:
        status.source = "predictor"
        return Follower(table, predictor, status, stores, poll_s=settings.predictor_poll_s)

    if inside is not None:
        return followed(inside)
    if settings.route_file is not None:
        return RouteFileWatcher(settings.route_file, status.model, keeper(), status, counters, poll_s=settings.route_poll_s)
    api = api if settings.route_configmap != NONE else None
    named = settings.route_configmap not in (AUTO, NONE)
    if api is None and named:
        raise InvalidInput("expected to run in a pod with a service account's token", field="route_configmap")
    if api is None:
        if outside is None:
            raise InvalidInput("missing", field="predictor_host")
        return followed(outside())
    name = settings.route_configmap if named else f"penstock-route-{status.model}"
    return ConfigMapRoute(
        api,
        name,
        keeper(),
        status,
        counters,
        follow=None if outside is None else lambda: followed(outside()),
        cache=RouteCache(settings.route_cache, name) if settings.route_cache is not None else None,
        named=named,
        confirm_s=settings.route_confirm_s,
    )

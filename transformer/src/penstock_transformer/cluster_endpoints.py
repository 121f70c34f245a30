"""The pods behind a Service, watched through the Kubernetes API where this pod may read it, else by DNS.

    Service (which port) -> EndpointSlices: list --> watch --(bookmarks, changes)--> listener
                                              ^        | 410, an error: list again
                                              +--------+ disconnected: watch again from where it was, with growing pauses

Invariant: what was known stays in use until the API says otherwise; an API server that is away takes no predictor away.
"""

import asyncio
import contextlib
import logging
import random
from urllib.parse import quote, urlencode

from penstock_transformer.endpoint_slices import EndpointSlices
from penstock_transformer.endpoints import DnsEndpoints, Endpoint, EndpointSource, FixedEndpoints, Listener, is_address
from penstock_transformer.kube_api import KubeApi, KubeApiError

logger = logging.getLogger(__name__)

WATCH_S = 300
_SILENT_S = WATCH_S + 30.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0


class ClusterEndpoints:
    """The ready pods of a Service. Until the API has answered, and where it denies, `fallback` tells where to go."""

    def __init__(self, api: KubeApi, service: str, namespace: str, port: int, fallback: EndpointSource) -> None:
        self._api = api
        self._service = service
        self._namespace = namespace
        self._port = port
        self._fallback = fallback
        self._watching = False
        self._task: asyncio.Task[None] | None = None

    def start(self, listener: Listener) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(listener))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._fallback.close()

    async def _run(self, listener: Listener) -> None:
        slices: EndpointSlices | None = None
        pause_s = _FIRST_PAUSE_S
        falling_back = False
        while True:
            try:
                if slices is None:
                    slices = await self._list()
                    if falling_back:
                        falling_back = False
                        await self._fallback.close()
                    self._tell(listener, slices)
                if not await self._watch(slices, listener):
                    slices = None
                pause_s = _FIRST_PAUSE_S
            except KubeApiError as error:
                extra = {"service": f"{self._namespace}/{self._service}", "reason": str(error)}
                if slices is None and not self._watching and not falling_back:
                    logger.warning("endpoints by DNS: the Kubernetes API does not tell them", extra=extra)
                    falling_back = True
                    self._fallback.start(listener)
                elif not falling_back:
                    logger.warning("endpoints not watched, those known stay in use", extra=extra)
                if error.status == 410:
                    slices = None
            # Spread in time, so that a whole Deployment does not come back to the API server at once.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _list(self) -> EndpointSlices:
        slices = EndpointSlices(await self._port_name())
        try:
            slices.replace(await self._api.get(self._path()))
            slices.endpoints()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise KubeApiError(f"the list of EndpointSlices is not one: {error!r}") from None
        return slices

    async def _port_name(self) -> str | None:
        """The name of the Service's port; None where this pod may not read Services, or the Service has no such port."""
        with contextlib.suppress(KubeApiError, KeyError, TypeError):
            service = await self._api.get(f"/api/v1/namespaces/{quote(self._namespace)}/services/{quote(self._service)}")
            return next((str(p.get("name") or "") for p in service["spec"]["ports"] if p.get("port") == self._port), None)
        return None

    async def _watch(self, slices: EndpointSlices, listener: Listener) -> bool:
        """Follow until the server ends the watch; False if a list is needed before the next."""
        known = slices.endpoints()
        async with contextlib.aclosing(self._api.watch(self._path(slices.version), _SILENT_S)) as events:
            async for event in events:
                try:
                    if not slices.apply(event):
                        return False
                    found = slices.endpoints()
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise KubeApiError(f"an EndpointSlice is not one: {error!r}", 410) from None
                if found != known:
                    known = found
                    self._tell(listener, slices)
        return True

    def _tell(self, listener: Listener, slices: EndpointSlices) -> None:
        found: tuple[Endpoint, ...] = slices.endpoints()
        if not self._watching:
            self._watching = True
            logger.info("endpoints watched", extra={"service": f"{self._namespace}/{self._service}", "pods": len(found)})
        listener(found, "")

    def _path(self, version: str | None = None) -> str:
        asked = {"labelSelector": f"kubernetes.io/service-name={self._service}"}
        if version is not None:
            asked |= {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version, "timeoutSeconds": str(WATCH_S)}
        return f"/apis/discovery.k8s.io/v1/namespaces/{quote(self._namespace)}/endpointslices?{urlencode(asked)}"


def endpoint_source(host: str, port: int, api: KubeApi | None = None) -> EndpointSource:
    """What tells where `host:port` is. `api`: the API server to ask, by default that of this pod's cluster, if it is in one."""
    if is_address(host):
        return FixedEndpoints(host, port)
    by_name = DnsEndpoints(host, port)
    api = api if api is not None else KubeApi.of_this_pod()
    service = service_of(host, api.namespace) if api is not None else None
    if api is None or service is None:
        return by_name
    return ClusterEndpoints(api, *service, port, by_name)


def service_of(host: str, namespace: str) -> tuple[str, str] | None:
    """The Service and namespace that a name in a cluster stands for (`name`, `name.ns`, `name.ns.svc…`); None for other names."""
    name, *rest = host.rstrip(".").split(".")
    if len(rest) >= 2 and rest[1] != "svc":
        return None
    return name, rest[0] if rest else namespace

"""The pods behind a Service, watched through the Kubernetes API where this pod may read it, else by DNS.

    Service (which port) -> KubeWatch of its EndpointSlices -> listener

Invariant: what was known stays in use until the API says otherwise; an API server that is away takes no predictor away.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any
from urllib.parse import quote

from penstock_transformer.endpoint_slices import EndpointSlices
from penstock_transformer.endpoints import DnsEndpoints, Endpoint, EndpointSource, FixedEndpoints, Listener, is_address
from penstock_transformer.kube_api import KubeApi, KubeApiError
from penstock_transformer.kube_watch import KubeWatch

logger = logging.getLogger(__name__)


class ClusterEndpoints:
    """The ready pods of a Service. Until the API has answered, and where it denies, `fallback` tells where to go."""

    def __init__(self, api: KubeApi, service: str, namespace: str, port: int, fallback: EndpointSource) -> None:
        self._api = api
        self._service = service
        self._namespace = namespace
        self._port = port
        self._fallback = fallback
        self._slices = EndpointSlices()
        self._known: tuple[Endpoint, ...] | None = None
        self._falling_back = False
        self._reason = ""
        self._listener: Listener | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, listener: Listener) -> None:
        self._listener = listener
        path = f"/apis/discovery.k8s.io/v1/namespaces/{quote(self._namespace)}/endpointslices"
        selector = {"labelSelector": f"kubernetes.io/service-name={self._service}"}
        watch = KubeWatch(self._api, path, selector, self._slices, self._told, self._failed, before=self._name_port)
        self._run(watch.run())

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._fallback.close()

    def _told(self) -> None:
        found = self._slices.endpoints()
        if self._known is None or self._reason:
            extra = {"service": f"{self._namespace}/{self._service}", "pods": len(found)}
            logger.info("endpoints watched", extra=extra)
        self._reason = ""
        if self._falling_back:
            self._falling_back = False
            self._run(self._fallback.close())
        if found != self._known and self._listener is not None:
            self._known = found
            self._listener(found, "")

    def _failed(self, error: KubeApiError) -> None:
        extra = {"service": f"{self._namespace}/{self._service}", "reason": str(error)}
        first = self._known is None and not self._falling_back
        if first and self._listener is not None:
            logger.warning("endpoints by DNS: the Kubernetes API does not tell them", extra=extra)
            self._falling_back = True
            self._fallback.start(self._told_by_name)
        elif str(error) != self._reason:
            logger.warning("endpoints not watched, those known stay in use", extra=extra)
        self._reason = str(error)

    def _told_by_name(self, endpoints: tuple[Endpoint, ...] | None, reason: str) -> None:
        if self._falling_back and self._listener is not None:
            self._listener(endpoints, reason)

    async def _name_port(self) -> None:
        """The name of the Service's port; None where this pod may not read Services, or the Service has no such port."""
        self._slices.port_name = None
        with contextlib.suppress(KubeApiError, KeyError, TypeError):
            service = await self._api.get(f"/api/v1/namespaces/{quote(self._namespace)}/services/{quote(self._service)}")
            ports = service["spec"]["ports"]
            self._slices.port_name = next((str(p.get("name") or "") for p in ports if p.get("port") == self._port), None)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def endpoint_source(host: str, port: int, api: KubeApi | None = None) -> EndpointSource:
    """What tells where `host:port` is. `api`: the API server of this pod's cluster; None outside of one."""
    if is_address(host):
        return FixedEndpoints(host, port)
    by_name = DnsEndpoints(host, port)
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

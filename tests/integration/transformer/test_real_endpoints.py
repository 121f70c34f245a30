"""Endpoints against a real Kubernetes API: slices that come, overlap, terminate and go, and an API server that goes away."""

import asyncio
from typing import Any

from penstock_transformer.cluster_endpoints import ClusterEndpoints
from penstock_transformer.endpoints import Endpoint


def slice_of(service: str, name: str, *addresses: str, port: int = 8080, **conditions: bool) -> dict[str, Any]:
    endpoints = [{"addresses": [address], "conditions": {"ready": True, **conditions}} for address in addresses]
    ports = [{"name": "http", "port": port, "protocol": "TCP"}, {"name": "grpc", "port": port + 1, "protocol": "TCP"}]
    kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
    metadata = {"name": name, "labels": {"kubernetes.io/service-name": service}}
    return {**kind, "metadata": metadata, "endpoints": endpoints, "ports": ports}


def test_endpoints_as_a_real_api_tells_them(space: Any, run: Any, wait: Any) -> None:
    kubernetes = space.kubernetes
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{space.name}/endpointslices"
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "grpc", "port": 81, "targetPort": 8081}]
    kubernetes.request(
        "POST", f"/api/v1/namespaces/{space.name}/services", {"metadata": {"name": "flights"}, "spec": {"ports": ports}}
    )

    def put(name: str, *addresses: str, **given: Any) -> None:
        kubernetes.apply(f"{slices}/{name}", slice_of("flights", name, *addresses, **given))

    class Nobody:
        def start(self, _listener: Any) -> None:
            raise AssertionError("nobody asks DNS here")

        async def close(self) -> None:
            return

    async def go() -> None:
        heard: list[tuple[Endpoint, ...]] = []

        def hosts() -> list[str]:
            return [endpoint.host for endpoint in heard[-1]] if heard else []

        source = ClusterEndpoints(space.api(), "flights", space.name, 80, Nobody())
        source.start(lambda found, _: heard.append(found or ()))
        await wait(lambda: heard)
        assert hosts() == []
        await space.away(put, "a", "10.0.0.1", "10.0.0.2")
        await wait(lambda: hosts() == ["10.0.0.1", "10.0.0.2"])
        assert heard[-1][0].port == 8080
        await space.away(lambda: put("b", "10.0.0.3", "10.0.0.1"))
        await wait(lambda: hosts() == ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        await space.away(lambda: put("b", "10.0.0.3", terminating=True, ready=False))
        await wait(lambda: hosts() == ["10.0.0.1", "10.0.0.2"])
        await space.away(kubernetes.kill)
        await asyncio.sleep(0)
        assert hosts() == ["10.0.0.1", "10.0.0.2"]
        await space.away(kubernetes.start)
        await space.away(lambda: kubernetes.request("DELETE", f"{slices}/a"))
        await wait(lambda: hosts() == [])
        await space.away(put, "c", "10.0.0.9")
        await wait(lambda: hosts() == ["10.0.0.9"])
        await source.close()

    run(go())

"""What is around an operator that is measured: KServe, the job controller, transformer pods, as little of each as it takes.

Surroundings looks at the API server a few times a second; transformers share one port, and are told apart by the address that was
asked (127.2.x.y and 127.3.x.y).
"""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from operator_traffic import Traffic

from penstock.testing.definitions import INFERENCE_SERVICES as DEFINITION
from penstock.testing.definitions import chart_definition
from penstock.testing.kubernetes import KubernetesServer
from penstock_operator.cluster import CONFIG_MAPS, INFERENCE_SERVICES, JOBS, PODS, ClusterError, Kind, Object
from penstock_operator.inference_service import MADE_BY
from penstock_operator.kube_cluster import KubeCluster
from penstock_operator.kube_config import find_credentials
from penstock_operator.looking import SERVICE_LABEL
from penstock_operator.model_version import API_VERSION, KIND, PAUSED
from penstock_operator.route import KEY, LABEL, load_yaml
from penstock_operator.verification_job import MODEL_LABEL, VERSION_LABEL

NAMESPACE = "default"
TEMPLATE = Path(__file__).parents[1] / "charts/penstock/templates/modelversion-crd.yaml"
LOOK_S = 0.25
READY = [{"type": "Ready", "status": "True"}]


async def cluster_of(server: KubernetesServer, folder: Path) -> KubeCluster:
    """A client of the server, whose kubeconfig lies in the folder; the definitions are made."""
    await asyncio.to_thread(server.define, chart_definition(TEMPLATE), DEFINITION)
    (folder / "kubeconfig").write_text(yaml.safe_dump(server.kubeconfig(NAMESPACE)))
    return KubeCluster(find_credentials(folder / "kubeconfig", {}))


def model_version(model: str, number: int, *, paused: bool = False, strategy: str = "immediate") -> Object:
    """A version of a model, to be live at once unless the strategy is another."""
    name, digit = f"{model}-{number}", f"{number:x}"
    spec = {
        "inferenceService": model,
        "bundle": {"uri": f"pvc://bundles/{name}", "digest": "sha256:" + digit * 64},
        "rollout": {"strategy": strategy, "onNewerVersion": "queue"},
    }
    metadata = {"name": name, "namespace": NAMESPACE, "annotations": {PAUSED: "true"} if paused else {}}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


class Surroundings:
    """From `start` to `close`. `port`: where all transformers' admin ports are. `traffic`: what the transformers count, None for
    nothing; `asked`: how often they were asked for it."""

    def __init__(self, cluster: KubeCluster, port: int, traffic: Traffic | None = None) -> None:
        self.asked = 0
        self._traffic = traffic
        self._cluster = cluster
        self._port = port
        self._models: dict[str, str] = {}
        self._routes: dict[str, dict[str, Any]] = {}
        self._done: set[str] = set()
        self._playing: asyncio.Task[None]
        self._runner: web.AppRunner

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/route", self._route)
        application.router.add_get("/evidence", self._evidence)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "0.0.0.0", self._port).start()
        self._playing = asyncio.create_task(self._play())

    async def close(self) -> None:
        self._playing.cancel()
        await asyncio.gather(self._playing, return_exceptions=True)
        await self._runner.cleanup()

    async def _route(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.json_response(self._applied(self._models.get(request.transport.get_extra_info("sockname")[0], "")))

    def _applied(self, model: str) -> dict[str, Any]:
        return {"revision": 0, "applied": [], "error": None, "model": model, **self._routes.get(model, {})}

    async def _evidence(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        self.asked += 1
        address = request.transport.get_extra_info("sockname")[0]
        if self._traffic is None:
            raise web.HTTPNotFound
        model, with_features = self._models.get(address, ""), request.query.get("features") != "false"
        told = self._traffic.told(model, address, self._applied(model), with_features=with_features)
        return web.Response(body=told, content_type="application/json")

    async def _play(self) -> None:
        while True:
            # Objects go while they are looked at.
            with contextlib.suppress(ClusterError):
                await self._look()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        maps, _ = await self._cluster.list(CONFIG_MAPS, NAMESPACE, labels=LABEL)
        for document in maps:
            route = load_yaml(document["data"][KEY])
            applied = [one["digest"] for one in route["bundles"]]
            model = document["metadata"]["labels"][LABEL]
            self._routes[model] = {"revision": route["revision"], "applied": applied}
            if self._traffic is not None:
                self._traffic.routed(model, route)
        for kind, act in ((JOBS, self._verify), (INFERENCE_SERVICES, self._serve)):
            found, _ = await self._cluster.list(kind, NAMESPACE)
            new = [one for one in found if one["metadata"]["uid"] not in self._done]
            for at in range(0, len(new), 20):
                await asyncio.gather(*map(act, new[at : at + 20]))
            self._done.update(one["metadata"]["uid"] for one in new)

    async def _verify(self, job: Object) -> None:
        labels = job["metadata"]["labels"]
        if labels[MODEL_LABEL].startswith("c"):
            return  # a change that is only to be seen
        arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
        digest = next(one.partition("=")[2] for one in arguments if one.startswith("--digest="))
        ended = {"exitCode": 0, "message": json.dumps({"ok": True, "digest": digest})}
        status = {"phase": "Succeeded", "containerStatuses": [_container(False, {"terminated": ended})]}
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
        await self._pod(job["metadata"]["name"], labels, status, [owner])

    async def _serve(self, service: Object) -> None:
        metadata = service["metadata"]
        name, labels = metadata["name"], metadata.get("labels") or {}
        pods = [(f"{name}-predictor", "predictor", "")] if VERSION_LABEL in labels else []
        if MADE_BY in labels and not name.startswith("c"):
            number = len(self._models) // 2
            addresses = [f"127.{net}.{number // 250}.{number % 250 + 1}" for net in (2, 3)]
            self._models |= dict.fromkeys(addresses, name)
            pods += [(f"{name}-transformer-{at}", "transformer", address) for at, address in enumerate(addresses)]
        for pod, component, address in pods:
            status: dict[str, Any] = {
                "phase": "Running",
                "conditions": READY,
                "containerStatuses": [_container(True, {"running": {}})],
            }
            where = {"podIP": address, "podIPs": [{"ip": address}]} if address else {}
            await self._pod(pod, {**labels, SERVICE_LABEL: name, "component": component}, status | where, [])
        await self._status(INFERENCE_SERVICES, name, {"conditions": READY})

    async def _pod(self, name: str, labels: dict[str, str], status: dict[str, Any], owners: list[Object]) -> None:
        metadata = {"name": name, "namespace": NAMESPACE, "labels": labels, "ownerReferences": owners}
        spec = {"containers": [{"name": "kserve-container", "image": "x"}], "automountServiceAccountToken": False}
        with contextlib.suppress(ClusterError):  # it is there
            await self._cluster.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        await self._status(PODS, name, status)

    async def _status(self, kind: Kind, name: str, status: dict[str, Any]) -> None:
        metadata = {"name": name, "namespace": NAMESPACE}
        document = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "status": status}
        await self._cluster.apply_status(kind, document)


def _container(ready: bool, state: dict[str, Any]) -> dict[str, Any]:
    return {"name": "kserve-container", "image": "x", "imageID": "x", "ready": ready, "restartCount": 0, "state": state}

"""A real API server, and around it what a test needs of a cluster: KServe, the job controller and transformer pods, played by a
thread; the operator itself is the real program."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.testing.kubernetes import MERGE, ApiStatus, KubernetesServer
from penstock.testing.servers import free_port
from penstock.testing.waiting import until

DEADLINE_S = 60.0
_NUMBERS = count(1)


def wait_until(what: Callable[[], Any], text: Callable[[], str] | str, deadline_s: float = DEADLINE_S) -> Any:
    """What it gives once it is true. Raises AssertionError with the text after the deadline."""
    return until(what, deadline_s, text)


class Bed:
    """A namespace of the API server, with everything in it that the operator works with."""

    def __init__(self, server: KubernetesServer, directory: Path) -> None:
        self.server = server
        self.namespace = server.namespace(f"models-{next(_NUMBERS)}")
        self.admin_port = free_port()
        self.verdicts: dict[str, str] = {}
        self.most_pods = 100
        # Of 10,000 requests that each bundle got in each pod, so many failed.
        self.failed: dict[str, int] = {}
        self.stopped = threading.Event()
        self.faults: list[str] = []
        self._directory = directory
        self._pods: dict[str, tuple[str, ThreadingHTTPServer]] = {}
        self._revision: dict[str, Any] = {"revision": 0, "applied": []}
        self._asked: dict[tuple[int, int], int] = {}
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._operators: list[subprocess.Popen[bytes]] = []
        (directory / "kubeconfig").write_text(yaml.safe_dump(server.kubeconfig(self.namespace)))

    def __enter__(self) -> Bed:
        self._thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        for operator in self._operators:
            if operator.poll() is None:
                operator.kill()
            operator.wait()
        self.stopped.set()
        self._thread.join()
        for _, answering in self._pods.values():
            answering.shutdown()
            answering.server_close()

    # --- objects

    def path(self, plural: str, name: str = "", part: str = "") -> str:
        groups = {"modelversions": "apis/penstock.dev/v1alpha1", "inferenceservices": "apis/serving.kserve.io/v1beta1"}
        groups |= {"jobs": "apis/batch/v1", "leases": "apis/coordination.k8s.io/v1"}
        groups |= {"horizontalpodautoscalers": "apis/autoscaling/v2"}
        pieces = (f"/{groups.get(plural, 'api/v1')}/namespaces/{self.namespace}/{plural}", name, part)
        return "/".join(piece for piece in pieces if piece)

    def get(self, plural: str, name: str) -> dict[str, Any] | None:
        try:
            return self.server.request("GET", self.path(plural, name))
        except ApiStatus as error:
            if error.status == 404:
                return None
            raise

    def all(self, plural: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.server.request("GET", self.path(plural))["items"]
        return found

    def merge(self, plural: str, name: str, document: dict[str, Any], part: str = "") -> None:
        self.server.request("PATCH", self.path(plural, name, part), document, kind=MERGE)

    def add_version(self, name: str, digit: str, *, replicas: dict[str, int] | None = None, **rollout: Any) -> None:
        spec = {
            "inferenceService": "flights",
            "bundle": {"uri": f"pvc://bundles/{name}", "digest": "sha256:" + digit * 64},
            "runtime": {"replicas": replicas or {}},
            "rollout": rollout,
        }
        metadata = {"name": name, "namespace": self.namespace}
        document = {"apiVersion": "penstock.dev/v1alpha1", "kind": "ModelVersion", "metadata": metadata, "spec": spec}
        self.server.request("POST", self.path("modelversions"), document)

    def annotate(self, name: str, **annotations: str | None) -> None:
        given = {f"penstock.dev/{key}": value for key, value in annotations.items()}
        self.merge("modelversions", name, {"metadata": {"annotations": given}})

    def phase(self, name: str) -> str:
        found = self.get("modelversions", name) or {}
        return str((found.get("status") or {}).get("phase"))

    def status(self, name: str) -> dict[str, Any]:
        return (self.get("modelversions", name) or {}).get("status") or {}

    def weights(self) -> dict[str, float]:
        found = self.get("configmaps", "penstock-route-flights")
        bundles = yaml.safe_load(found["data"]["route.yaml"])["bundles"] if found else []
        return {one.get("model", "own"): one.get("weight", 0) for one in bundles}

    def wait_phase(self, name: str, phase: str) -> None:
        wait_until(lambda: self.phase(name) == phase, lambda: f"{name} is {phase}; it is {self.status(name)}")

    # --- the operator

    def operator(self, *options: str, failpoints: str = "", identity: str = "one") -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "penstock_operator", f"--namespaces={self.namespace}", f"--identity={identity}",
            f"--kubeconfig={self._directory / 'kubeconfig'}", f"--transformer_admin_port={self.admin_port}",
            f"--http_port={free_port()}", f"--admin_port={free_port()}", "--lease_s=3", *options,
        ]  # fmt: skip
        env = {**os.environ, "PENSTOCK_FAILPOINTS": failpoints}
        with open(self._directory / "operator.log", "ab") as log:
            operator = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        self._operators.append(operator)
        return operator

    def log(self) -> str:
        return (self._directory / "operator.log").read_text()

    # --- what is around it

    def _play(self) -> None:
        while not self.stopped.wait(0.05):
            try:
                self._verify()
                self._serve()
                self._route()
                self._collect()
            except (OSError, ApiStatus) as error:
                # The API server may be away, and objects may go while they are looked at.
                self.faults.append(str(error))

    def _verify(self) -> None:
        there = {pod["metadata"]["name"] for pod in self.all("pods")}
        for job in self.all("jobs"):
            metadata = job["metadata"]
            name = f"{metadata['name']}-{metadata['uid'][:8]}"
            version = self.get("modelversions", metadata["name"].removesuffix("-verify"))
            if name in there or version is None:
                continue
            digest = version["spec"]["bundle"]["digest"]
            kind = self.verdicts.get(digest, "ok")
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
            report = {"ok": kind == "ok", "digest": digest, "kind": kind, "message": "as the test wants it"}
            ended = (
                {"exitCode": 0, "message": json.dumps(report)} if kind != "memory" else {"exitCode": 137, "reason": "OOMKilled"}
            )
            container = {"name": "kserve-container", "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
            status = {"phase": "Succeeded", "containerStatuses": [{**container, "state": {"terminated": ended}}]}
            self._pod(name, {"penstock.dev/model": "flights"}, status, [owner])

    def _pod(self, name: str, labels: dict[str, str], status: dict[str, Any], owners: list[dict[str, Any]]) -> None:
        spec = {"containers": [{"name": "kserve-container", "image": "x"}], "automountServiceAccountToken": False}
        metadata = {"name": name, "labels": labels, "ownerReferences": owners}
        self.server.request("POST", self.path("pods"), {"metadata": metadata, "spec": spec})
        self.merge("pods", name, {"status": status}, "status")

    def _serve(self) -> None:
        """Pods of every predictor, no more than `most_pods` each; Ready is said with the first, as KServe does."""
        there = {pod["metadata"]["name"] for pod in self.all("pods")}
        for service in self.all("inferenceservices"):
            metadata = service["metadata"]
            if (metadata.get("labels") or {}).get("penstock.dev/model-version"):
                self._add_predictors(service, there)
            if (service.get("status") or {}).get("conditions"):
                continue
            if (metadata.get("labels") or {}).get("penstock.dev/made-by"):
                for _ in range(2):
                    self.add_transformer()
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            self.merge("inferenceservices", metadata["name"], {"status": ready}, "status")

    def _add_predictors(self, service: dict[str, Any], there: set[str]) -> None:
        metadata = service["metadata"]
        labels = {**metadata["labels"], "serving.kserve.io/inferenceservice": metadata["name"], "component": "predictor"}
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        for number in range(min(service["spec"]["predictor"]["minReplicas"], self.most_pods)):
            name = f"{metadata['name']}-predictor-{metadata['uid'][:8]}-{number}"
            if name not in there:
                self._pod(name, labels, status, [])

    def add_transformer(self) -> str:
        number = next(_NUMBERS)
        address, name = f"127.1.{number // 250}.{1 + number % 250}", f"flights-transformer-{number}"
        server = ThreadingHTTPServer((address, self.admin_port), self._handler())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._pods[name] = address, server
        running = {
            "name": "kserve-container",
            "image": "x",
            "imageID": "x",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {}},
        }
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [running],
        }
        labels = {"serving.kserve.io/inferenceservice": "flights", "component": "transformer"}
        self._pod(name, labels, status, [])
        return name

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        bed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told = bed._evidence(id(self.server)) if self.path.startswith("/evidence") else {**bed._revision, "error": None}
                body = json.dumps({"model": "flights", **told}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _evidence(self, process: int) -> dict[str, Any]:
        """Ten thousand requests more each time that this revision is asked for."""
        revision = self._revision["revision"]
        asked = self._asked[process, revision] = self._asked.get((process, revision), 0) + 1
        number = 10_000 * asked
        entries = [
            {
                "bundle": digest,
                "revision": revision,
                "requests": number,
                "rows": number,
                "keys": number,
                "failed_keys": {"internal": self.failed.get(digest, 0) * asked},
                "latency": {"call": [[60, number]], "request": [[60, number]]},
            }
            for digest in self._revision["applied"]
        ]
        return {"formatVersion": 1, "processes": [{"incarnation": f"{process}", "age_s": 600.0, "entries": entries}]}

    def _route(self) -> None:
        found = self.get("configmaps", "penstock-route-flights")
        try:
            route = yaml.safe_load(found["data"]["route.yaml"]) if found else None
            if route:
                self._revision = {"revision": route["revision"], "applied": [one["digest"] for one in route["bundles"]]}
        except (yaml.YAMLError, KeyError, TypeError):
            pass

    def _collect(self) -> None:
        """The garbage collector: pods of what is gone; and nothing keeps a pod that is being deleted."""
        services = {one["metadata"]["name"] for one in self.all("inferenceservices")}
        for pod in self.all("pods"):
            metadata = pod["metadata"]
            service = (metadata.get("labels") or {}).get("serving.kserve.io/inferenceservice")
            if (service and service not in services) or metadata.get("deletionTimestamp"):
                path = self.path("pods", metadata["name"])
                self.server.request("DELETE", path, {"gracePeriodSeconds": 0, "kind": "DeleteOptions", "apiVersion": "v1"})


@pytest.fixture
def bed(kubernetes: KubernetesServer, tmp_path: Path) -> Iterator[Bed]:
    with Bed(kubernetes, tmp_path) as made:
        yield made
        with contextlib.suppress(OSError):
            print(made.log()[-4000:])


@pytest.fixture
def another_bed(kubernetes: KubernetesServer, bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Another namespace, whose transformers can be asked by the first one's operator."""
    made = Bed(kubernetes, tmp_path_factory.mktemp("another"))
    made.admin_port = bed.admin_port
    with made:
        yield made


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    return wait_until

"""The custom metrics API of a cluster, which autoscalers ask, served by this machine: what the pods themselves say at /metrics.

    HPA controller --> API server --APIService--> here, at the host's end of the cable --> http://POD:8080/metrics

prometheus-adapter would stand here, with a Prometheus behind it, which keeps what the pods said and so answers a little later.

Invariant: a pod that cannot be asked is left out, as a Prometheus leaves out what it could not scrape.
"""

import base64
import datetime
import json
import ssl
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bed.answering import send_json
from bed.authority import Authority
from bed.cluster import Cluster
from bed.network import HOST
from prometheus_client.parser import text_string_to_metric_families

METRIC = "penstock_in_flight"
GROUP, VERSION = "custom.metrics.k8s.io", "v1beta2"
NAME = "custom-metrics"
_ROOT = f"/apis/{GROUP}/{VERSION}"
_SCRAPE_S = 5.0


@contextmanager
def custom_metrics(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The API is there, by a Service of this namespace, until the context ends."""
    with tempfile.TemporaryDirectory(prefix="penstock-metrics-") as name:
        folder = Path(name)
        Authority(folder).issue("server", NAME, hosts=[f"{NAME}.{namespace}.svc"])
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(folder / "server.crt", folder / "server.key")
        with ThreadingHTTPServer((HOST, 0), _handler(cluster)) as server:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            manifests = _manifests(namespace, server.server_port, (folder / "ca.crt").read_bytes())
            cluster.apply(*manifests, namespace=namespace)
            try:
                cluster.kubectl("wait", "--for=condition=Available", f"apiservice/{VERSION}.{GROUP}", "--timeout=60s")
                yield
            finally:
                cluster.kubectl("delete", f"apiservice/{VERSION}.{GROUP}")
                server.shutdown()


def _manifests(namespace: str, port: int, authority: bytes) -> list[dict[str, Any]]:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME},
               "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]}}  # fmt: skip
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": NAME, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": port}],
        "endpoints": [{"addresses": [HOST], "conditions": {"ready": True}}],
    }
    api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{VERSION}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": NAME, "namespace": namespace},
            "caBundle": base64.b64encode(authority).decode(),
        },
    }
    return [service, slices, api]


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = _answer(cluster, self.path)
            send_json(self, 404 if answer is None else 200, answer)

        def log_message(self, *_: object) -> None:
            """Not a line a look."""

    return Handler


def _answer(cluster: Cluster, target: str) -> dict[str, Any] | None:
    """What a path of the API gives; None of one that is not there."""
    path = urlsplit(target)
    if path.path == _ROOT:
        resource = {"name": f"pods/{METRIC}", "singularName": "", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": [resource]}
    match unquote(path.path).removeprefix(_ROOT).split("/"):
        case ["", "namespaces", namespace, "pods", "*", metric] if metric == METRIC:
            selector = parse_qs(path.query).get("labelSelector", [""])[0]
            return _values(cluster, namespace, selector)
    return None


def _values(cluster: Cluster, namespace: str, selector: str) -> dict[str, Any]:
    shown = cluster.kubectl("--namespace", namespace, "get", "pods", f"--selector={selector}", "--output=json")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    items = [
        {
            "describedObject": {"kind": "Pod", "namespace": namespace, "name": pod["metadata"]["name"], "apiVersion": "/v1"},
            "metric": {"name": METRIC},
            "timestamp": now,
            "value": str(value),
        }
        for pod in json.loads(shown)["items"]
        if (value := _in_flight(pod["status"].get("podIP", ""))) is not None
    ]
    return {"kind": "MetricValueList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": items}


def _in_flight(address: str) -> int | None:
    """Of all its models; None if it cannot be asked."""
    try:
        with urllib.request.urlopen(f"http://{address}:8080/metrics", timeout=_SCRAPE_S) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    return sum(
        int(sample.value) for family in text_string_to_metric_families(text) if family.name == METRIC for sample in family.samples
    )

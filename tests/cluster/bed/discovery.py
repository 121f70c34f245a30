"""Prometheus' discovery by Kubernetes' API for a Prometheus that is built without it, as Debian's is: this machine does it.

    Prometheus --http_sd_configs, every second--> here --lists, with a service account's token--> API server

Targets and labels are those that Prometheus' documentation has for the roles `pod` and `endpoints`.

Invariant: a rule that goes by a label which is not made here raises, since it would match nothing, and nobody would know why.
"""

import base64
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import yaml
from bed.answering import send_json
from bed.cluster import Cluster
from bed.trouble import BedError

Document = dict[str, Any]
Target = tuple[str, dict[str, str]]
"""An address, and the labels that its relabelling goes by."""
REFRESH = "1s"
_META = "__meta_kubernetes"
_MADE = re.compile(
    rf"{_META}_(namespace|service_name|pod_(name|ip|phase)|pod_container_(name|port_name|port_number)|(pod|service)_label(present)?_.+"
    r"|endpoint_port_name|endpoint_address_target_(kind|name))"
)
_RIGHTS = [{"apiGroups": [""], "resources": ["pods", "services", "endpoints"], "verbs": ["get", "list", "watch"]}]


@contextmanager
def discovery(cluster: Cluster, namespace: str) -> Iterator[Callable[[Document], Document]]:
    """Makes of a scrape configuration with `kubernetes_sd_configs` one that asks here while the context lasts, as an account of
    this namespace. Raises BedError."""
    with (
        _account(cluster, namespace) as token,
        httpx.Client(**_access(cluster, token)) as api,
        ThreadingHTTPServer(("127.0.0.1", 0), _handler(api)) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield lambda config: _asking(config, server.server_port)
        finally:
            server.shutdown()


def _asking(config: Document, port: int) -> Document:
    unknown = [
        label
        for rule in config["relabel_configs"]
        for label in rule.get("source_labels", [])
        if label.startswith(_META) and not _MADE.fullmatch(label)
    ]
    if unknown:
        raise BedError(f"{config['job_name']} goes by labels that are not made here: {', '.join(unknown)}")
    (wanted,) = config["kubernetes_sd_configs"]
    query = urlencode({"role": wanted["role"], "in": wanted.get("namespaces", {}).get("names", [])}, doseq=True)
    asked = {"http_sd_configs": [{"url": f"http://127.0.0.1:{port}/?{query}", "refresh_interval": REFRESH}]}
    return {**{key: value for key, value in config.items() if key != "kubernetes_sd_configs"}, **asked}


@contextmanager
def _account(cluster: Cluster, namespace: str) -> Iterator[str]:
    """The token of an account that may see what Prometheus has to see, in all namespaces."""
    account, name = "prometheus", f"prometheus-{namespace}"
    role = {"kind": "ClusterRole", "metadata": {"name": name}}
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}},
        {**rbac, **role, "rules": _RIGHTS},
        {**rbac, "kind": "ClusterRoleBinding", "metadata": {"name": name}, "roleRef": reference, "subjects": [subject]},
        namespace=namespace,
    )
    try:
        yield cluster.kubectl("--namespace", namespace, "create", "token", account, "--duration=1h").strip()
    finally:
        cluster.kubectl("delete", f"clusterrolebinding/{name}", f"clusterrole/{name}")


def _access(cluster: Cluster, token: str) -> Document:
    known = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    authority = base64.b64decode(known["certificate-authority-data"]).decode()
    return {
        "base_url": known["server"],
        "verify": ssl.create_default_context(cadata=authority),
        "headers": {"Authorization": f"Bearer {token}"},
        "timeout": 20,
        "trust_env": False,
    }


def _handler(api: httpx.Client) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            namespaces = query.get("in")
            try:
                found = list(_ROLES[query["role"][0]](api))
            except httpx.HTTPError as error:
                # It keeps the targets of before, and says so in its log.
                self.send_error(502, repr(error))
                return
            groups = [
                {"targets": [address], "labels": labels}
                for address, labels in found
                if namespaces is None or labels[f"{_META}_namespace"] in namespaces
            ]
            send_json(self, 200, groups)

        def log_message(self, *_: object) -> None:
            """Not a line a look."""

    return Handler


def _list(api: httpx.Client, what: str) -> list[Document]:
    answer = api.get(f"/api/v1/{what}")
    answer.raise_for_status()
    items: list[Document] = answer.json()["items"]
    return items


def _of_pods(api: httpx.Client) -> Iterator[Target]:
    """One a port of a container, and one of a container without any."""
    for pod in _list(api, "pods"):
        address = pod["status"].get("podIP")
        if not address:
            continue
        labels = _pod_labels(pod)
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            for port in container.get("ports", []):
                yield f"{address}:{port['containerPort']}", labels | _container_labels(container, port)
            if not container.get("ports"):
                yield address, {**labels, f"{_META}_pod_container_name": container["name"]}


def _of_endpoints(api: httpx.Client) -> Iterator[Target]:
    """One an address and port of an Endpoints object, with the labels of its Service, and of the pod behind it."""
    pods = {_key(pod["metadata"]): pod for pod in _list(api, "pods")}
    services = {_key(service["metadata"]): service for service in _list(api, "services")}
    for one in _list(api, "endpoints"):
        service = services.get(_key(one["metadata"]))
        of_service = _labels(service, "service") if service else {}
        for subset in one.get("subsets", []):
            for address in [*subset.get("addresses", []), *subset.get("notReadyAddresses", [])]:
                target = address.get("targetRef", {})
                pod = pods.get(_key(target)) if target.get("kind") == "Pod" else None
                for port in subset.get("ports", []):
                    labels = {
                        f"{_META}_namespace": one["metadata"]["namespace"],
                        f"{_META}_endpoint_port_name": port.get("name", ""),
                        f"{_META}_endpoint_address_target_kind": target.get("kind", ""),
                        f"{_META}_endpoint_address_target_name": target.get("name", ""),
                    }
                    behind = _behind(pod, port["port"]) if pod else {}
                    yield f"{address['ip']}:{port['port']}", {**labels, **of_service, **behind}


def _behind(pod: Document, number: int) -> dict[str, str]:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", []):
            if port["containerPort"] == number:
                return _pod_labels(pod) | _container_labels(container, port)
    return _pod_labels(pod)


def _pod_labels(pod: Document) -> dict[str, str]:
    status = pod["status"]
    return {**_labels(pod, "pod"), f"{_META}_pod_ip": status.get("podIP", ""), f"{_META}_pod_phase": status.get("phase", "")}


def _container_labels(container: Document, port: Document) -> dict[str, str]:
    return {
        f"{_META}_pod_container_name": container["name"],
        f"{_META}_pod_container_port_name": port.get("name", ""),
        f"{_META}_pod_container_port_number": str(port["containerPort"]),
    }


def _labels(thing: Document, kind: str) -> dict[str, str]:
    metadata = thing["metadata"]
    found = {f"{_META}_namespace": metadata["namespace"], f"{_META}_{kind}_name": metadata["name"]}
    for key, value in metadata.get("labels", {}).items():
        name = re.sub(r"[^a-zA-Z0-9_]", "_", key)
        found |= {f"{_META}_{kind}_label_{name}": value, f"{_META}_{kind}_labelpresent_{name}": "true"}
    return found


def _key(metadata: Document) -> tuple[str, str]:
    return metadata.get("namespace", ""), metadata.get("name", "")


_ROLES = {"pod": _of_pods, "endpoints": _of_endpoints}

"""What the Prometheus operator makes of ServiceMonitors and PodMonitors: Prometheus' scrape configurations.

    scrape_configs([{"kind": "PodMonitor", …}]) -> [{"job_name": "podMonitor/penstock-system/penstock/0", …}, …], one an endpoint

As that operator writes them (its pkg/prometheus/promcfg.go), for the fields that our monitors have; any other one raises, so that
none is left out unseen. What does nothing here is left out: shards, limits, a node's label.
"""

import copy
from collections.abc import Sequence
from typing import Any

from bed.trouble import BedError

Document = dict[str, Any]
_META = "__meta_kubernetes"
_KINDS = {"ServiceMonitor": ("endpoints", "service", "endpoints"), "PodMonitor": ("pod", "pod", "podMetricsEndpoints")}
"""Discovery's role, whose labels are selected by, and where the endpoints stand."""
_FIELDS = {"action": "action", "sourceLabels": "source_labels", "regex": "regex", "targetLabel": "target_label",
           "replacement": "replacement"}  # fmt: skip
_ENDED = {"action": "drop", "source_labels": [f"{_META}_pod_phase"], "regex": "(Failed|Succeeded)"}
_TARGET = [f"{_META}_endpoint_address_target_kind", f"{_META}_endpoint_address_target_name"]


def scrape_configs(monitors: Sequence[Document]) -> list[Document]:
    """Of each endpoint one, with `kubernetes_sd_configs` that know no address or log-in yet. Raises BedError."""
    return [config for monitor in monitors for config in _of_monitor(monitor["kind"], copy.deepcopy(monitor))]


def _of_monitor(kind: str, monitor: Document) -> list[Document]:
    role, owner, field = _KINDS[kind]
    place, name, spec = monitor["metadata"]["namespace"], monitor["metadata"]["name"], monitor["spec"]
    discovery = {"role": role, **_namespaces(spec.pop("namespaceSelector", {}), place)}
    selected = _selected(spec.pop("selector"), owner)
    endpoints = spec.pop(field)
    _check_empty(spec, kind)
    configs = []
    for number, endpoint in enumerate(endpoints):
        port = endpoint.pop("port", None)
        given = _of_service(port) if kind == "ServiceMonitor" else _of_pod(port, f"{place}/{name}")
        own = [{_FIELDS[key]: value for key, value in rule.items()} for rule in endpoint.pop("relabelings", [])]
        config = {
            "job_name": f"{kind[0].lower()}{kind[1:]}/{place}/{name}/{number}",
            "honor_labels": endpoint.pop("honorLabels", False),
            "scrape_interval": endpoint.pop("interval"),
            "metrics_path": endpoint.pop("path", "/metrics"),
            "kubernetes_sd_configs": [discovery],
            "relabel_configs": [_ENDED, *selected, *given, *own],
        }
        _check_empty(endpoint, f"{kind}'s endpoint")
        configs.append(config)
    return configs


def _namespaces(selector: Document, own: str) -> Document:
    return {} if selector.get("any") else {"namespaces": {"names": selector.get("matchNames") or [own]}}


def _selected(selector: Document, owner: str) -> list[Document]:
    """Keeps what has these labels."""
    rules: list[Document] = []
    for key, value in selector.pop("matchLabels", {}).items():
        rules.append({"action": "keep", "source_labels": [_label(owner, "label", key), _label(owner, "labelpresent", key)],
                      "regex": f"({value});true"})  # fmt: skip
    for expression in selector.pop("matchExpressions", []):
        if expression["operator"] != "Exists":
            raise BedError(f"a selector with {expression['operator']} is not translated yet")
        rules.append({"action": "keep", "source_labels": [_label(owner, "labelpresent", expression["key"])], "regex": "true"})
    _check_empty(selector, "selector")
    return rules


def _label(owner: str, what: str, key: str) -> str:
    return f"{_META}_{owner}_{what}_{''.join(letter if letter.isalnum() else '_' for letter in key)}"


def _of_service(port: str | None) -> list[Document]:
    return [
        *_kept(f"{_META}_endpoint_port_name", port),
        {"source_labels": _TARGET, "regex": "Pod;(.*)", "replacement": "${1}", "target_label": "pod"},
        _copied("namespace", "namespace"),
        _copied("service_name", "service"),
        _copied("pod_name", "pod"),
        _copied("pod_container_name", "container"),
        _copied("service_name", "job"),
        *([{"target_label": "endpoint", "replacement": port}] if port else []),
    ]


def _of_pod(port: str | None, job: str) -> list[Document]:
    return [
        *_kept(f"{_META}_pod_container_port_name", port),
        _copied("namespace", "namespace"),
        _copied("pod_container_name", "container"),
        _copied("pod_name", "pod"),
        {"target_label": "job", "replacement": job},
        *([{"target_label": "endpoint", "replacement": port}] if port else []),
    ]


def _kept(label: str, port: str | None) -> list[Document]:
    return [{"action": "keep", "source_labels": [label], "regex": port}] if port else []


def _copied(label: str, target: str) -> Document:
    return {"source_labels": [f"{_META}_{label}"], "target_label": target}


def _check_empty(left: Document, where: str) -> None:
    if left:
        raise BedError(f"{where}: {', '.join(left)} is not translated yet")

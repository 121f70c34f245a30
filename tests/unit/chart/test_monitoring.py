"""Monitors, rules and dashboards: what the files hold comes through whole, and every part of ours is scraped where it tells."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

FILES = Path(__file__).resolve().parents[3] / "charts" / "penstock" / "files"

Document = dict[str, Any]
Render = Callable[..., Sequence[Document]]


def one(documents: Sequence[Document], kind: str) -> Document:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def test_the_alerts_are_those_of_the_file(render: Render) -> None:
    """Their own templates are left alone."""
    rule = one(render({"monitoring": {"enabled": True}}), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((FILES / "alerts.yaml").read_text())


def test_runbooks_get_the_address_of_ones_own(render: Render) -> None:
    rule = one(render({"monitoring": {"enabled": True, "runbooks": "https://example.com/penstock/"}}), "PrometheusRule")
    urls = [
        alert["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for alert in group["rules"] if "alert" in alert
    ]
    assert urls
    assert all(url.startswith("https://example.com/penstock/docs/runbooks/") for url in urls)


def test_the_dashboards_are_those_of_the_files(render: Render) -> None:
    found = {
        name: json.loads(text)
        for document in render({"monitoring": {"enabled": True}})
        if document["kind"] == "ConfigMap" and document["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in document["data"].items()
    }
    assert found == {path.name: json.loads(path.read_text()) for path in sorted((FILES / "dashboards").glob("*.json"))}
    assert found


def test_each_program_is_scraped_once_on_its_admin_port(render: Render) -> None:
    """A target a container's port: of all that a pod lists, one is kept for each program."""
    monitor = one(render({"monitoring": {"enabled": True}}), "PodMonitor")
    targets = {}
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        (keep,) = [rule for rule in endpoint["relabelings"] if rule["action"] == "keep"]
        (address,) = [rule for rule in endpoint["relabelings"] if rule.get("targetLabel") == "__address__"]
        targets[keep["regex"]] = address["replacement"]
    assert targets == {"8080": "$1:9090", "8085": "$1:9091"}


# Pods, with each container's ports as they come of runtime, manifests and chart; and what has to be scraped of them.
PODS = {
    "predictor": ({"kserve-container": [8080, 8081]}, {("$1:9090", "predictor")}),
    "transformer": ({"kserve-container": [8080, 8081]}, {("$1:9090", "transformer")}),
    # The predictor's container keeps the runtime's ports beside the one that it listens on.
    "collocated": (
        {"kserve-container": [8080, 8081, 8085], "transformer-container": [8080, 8081]},
        {("$1:9090", "collocated"), ("$1:9091", "predictor")},
    ),
    "worker": ({"worker": [8080, 9090]}, {("$1:9090", "worker")}),
    "relay": ({"relay": [8080, 9090]}, {("$1:9090", "relay")}),
    "updates": ({"updates": [8080, 9090]}, {("$1:9090", "updates")}),
}


@pytest.mark.parametrize("component", sorted(PODS))
def test_each_pod_is_scraped_once_a_program(render: Render, component: str) -> None:
    """Relabelled as Prometheus does it: a target a port of a container, less what is dropped."""
    monitor = one(render({"monitoring": {"enabled": True}}), "PodMonitor")
    containers, expected = PODS[component]
    found = []
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        for container, ports in containers.items():
            for port in ports:
                labels = {
                    "__meta_kubernetes_pod_ip": "10.0.0.1",
                    "__meta_kubernetes_pod_container_port_number": str(port),
                    "__meta_kubernetes_pod_container_name": container,
                    "__meta_kubernetes_pod_label_penstock_dev_component": component,
                }
                kept = relabelled(endpoint["relabelings"], labels)
                if kept is not None:
                    found.append((kept["__address__"], kept["component"]))
    assert len(found) == len(set(found))
    assert set(found) == expected


def relabelled(rules: list[Document], labels: dict[str, str]) -> dict[str, str] | None:
    """What Prometheus' relabelling makes of a target; None if it is dropped."""
    labels = dict(labels)
    for rule in rules:
        value = ";".join(labels.get(name, "") for name in rule.get("sourceLabels", []))
        matches = re.fullmatch(rule.get("regex", "(.*)"), value) is not None
        if rule["action"] == "replace":
            if matches:
                labels[rule["targetLabel"]] = rule.get("replacement", value)
        elif matches != (rule["action"] == "keep"):
            return None
    return labels


def test_nothing_of_it_without_being_asked(render: Render) -> None:
    kinds = {document["kind"] for document in render()}
    assert not {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"} & kinds


def test_a_cluster_without_the_prometheus_operator_is_told_of(render: Render, chart_error: type[Exception]) -> None:
    """Of a cluster helm knows every kind; where it renders without one it knows none."""
    values = {"monitoring": {"enabled": True}}
    with pytest.raises(chart_error, match=r"monitoring\.enabled: .* monitoring\.enabled=false"):
        render(values, apis=("v1/Namespace",))
    there = render(values, apis=("v1/Namespace", "monitoring.coreos.com/v1"))
    assert one(there, "PodMonitor") == one(render(values), "PodMonitor")
    assert render(apis=("v1/Namespace",))

"""Our chart in a cluster, with the images that were built here."""

import json
from pathlib import Path

from bed.cluster import Cluster
from bed.places import ROOT

NAMESPACE = "penstock-system"
RELEASE = "penstock"
CHART = ROOT / "charts" / "penstock"


def install(cluster: Cluster, *options: str | Path) -> None:
    """Install or upgrade the chart, and wait for its pods. `options` go to helm."""
    place = ["--namespace", NAMESPACE, "--create-namespace"]
    if not (ROOT / "operator/src/penstock_operator/__main__.py").exists():
        # Its image has no program to start yet.
        options = ("--set=operator.enabled=false", *options)
    cluster.helm("upgrade", "--install", RELEASE, CHART, *place, "--wait", "--timeout=180s", *options)


def admit(cluster: Cluster, namespace: str) -> None:
    """Give a namespace the service account that transformers and workers run as, as an administrator would for a new team."""
    values = json.loads(cluster.helm("get", "values", RELEASE, "--namespace", NAMESPACE, "--all", "--output=json"))
    namespaces = sorted({*values["transformer"]["namespaces"], namespace})
    install(cluster, "--reset-then-reuse-values", f"--set=transformer.namespaces={{{','.join(namespaces)}}}")

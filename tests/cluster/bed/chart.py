"""Our chart in a cluster, with the images that were built here."""

from pathlib import Path

from bed.cluster import Cluster
from bed.places import ROOT

NAMESPACE = "penstock-system"
RELEASE = "penstock"
CHART = ROOT / "charts" / "penstock"


def install(cluster: Cluster, *options: str | Path) -> None:
    """Install or upgrade the chart, and wait for its pods. `options` go to helm."""
    place = ["--namespace", NAMESPACE, "--create-namespace"]
    cluster.helm("upgrade", "--install", RELEASE, CHART, *place, "--wait", "--timeout=180s", *options)

"""What `make cluster-up` adds to a cluster with KServe: our chart, and in the namespace `default` all that the manifests and the
README's Kubernetes section expect to be there: Redis with the flights' features, Kafka, three versions of the bundle in a claim,
of which the last is a bad one.

Invariant: doing it again changes nothing but the chart and images, which are brought to what this tree holds.
"""

import tempfile
from pathlib import Path

from bed import chart, faulty, flights, images, kafka, versions
from bed.cluster import Cluster
from bed.command import run, succeeds
from bed.places import CACHE, PROGRAMS
from bed.trouble import BedError

NAMESPACE = "default"
TOPICS = tuple(f"{flights.MODEL}.{kind}" for kind in ("requests", "predictions", "dead-letters"))
# It finds the service's methods by reflection. The same release as the tests' (tools/get_judges.py).
_GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4"


def install(cluster: Cluster) -> None:
    """Images, chart, stores, bundles. Raises BedError."""
    install_chart(cluster)
    if not _has_bundles(cluster):
        with tempfile.TemporaryDirectory(prefix="penstock-flights-") as folder:
            example = flights.install(cluster, NAMESPACE, Path(folder), images.name_own("transformer"))
            versions.make_next_bundle(example, Path(folder))
            faulty.make_refusing(example, versions.BAD)
    kafka.install(cluster, NAMESPACE, TOPICS)
    _get_grpcurl()


def install_chart(cluster: Cluster) -> None:
    """Our images and our chart, with values that leave room on one small node."""
    if cluster.kind != "kubeconfig":
        for tag in images.build_own().values():
            cluster.load(tag)
    chart.install(cluster, "--values", chart.CHART / "values-development.yaml", more=NAMESPACE)


def _has_bundles(cluster: Cluster) -> bool:
    last = f"/mnt/models/{versions.BAD}/bundle.yaml"
    return cluster.succeeds("--namespace", NAMESPACE, "exec", "filler", "--", "test", "-e", last)


def _get_grpcurl() -> None:
    """Beside kubectl and helm, unless there is one."""
    ours, tests = PROGRAMS / "grpcurl", CACHE.parent / "go" / "bin" / "grpcurl"
    if ours.exists() or succeeds(["grpcurl", "-version"]):
        return
    if tests.exists():
        ours.symlink_to(tests)
        return
    try:
        run(["go", "install", _GRPCURL], environment={"GOBIN": str(PROGRAMS), "CGO_ENABLED": "0"}, timeout_s=1800)
    except BedError as error:
        raise BedError(f"grpcurl could not be built: {error}") from None

"""A real cluster for the tests of this folder: `make cluster-up`, `make test-cluster`. Without PENSTOCK_CLUSTER they are skipped.

cluster     it is up and has KServe           own_images   Penstock's images, built from the real Dockerfiles and loaded
chart       ours is installed, too            namespace    a fresh one for one test
flights     the example's place: store, bundle            served       manifests/inferenceservice.yaml applied there
next_bundle another bundle in the example's claim         version      a name for a ModelVersion of one test's own
variants    more of them, which answer differently
"""

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from bed import chart as penstock_chart  # noqa: E402
from bed import flights as flights_example  # noqa: E402
from bed import images, kserve, serving, versions  # noqa: E402
from bed.changes import VARIANTS  # noqa: E402
from bed.cluster import CHOICE, Cluster, chosen  # noqa: E402
from bed.flights import MODEL, Flights  # noqa: E402
from bed.variants import Variant, make_variants  # noqa: E402

TIMEOUT_S = 900


def pytest_addoption(parser: pytest.Parser) -> None:
    """Only known where this folder is named on the command line, as `make test-rollouts` does; elsewhere the defaults count."""
    parser.addoption("--changes", type=int, default=10, help="test_rollouts.py: how many changes of version")
    parser.addoption("--minutes", type=float, default=300.0, help="test_rollouts.py: no change begins after so many")
    parser.addoption("--seed", type=int, default=1, help="test_rollouts.py: which ones")
    parser.addoption("--runs", type=int, default=1, help="test_evidence.py: how many rollouts of each bad version")
    parser.addoption("--steps", help="test_evidence.py: of a good version with default margins, as 25,100")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the cluster that was asked for."""
    asked = bool(os.environ.get(CHOICE))
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.cluster)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TIMEOUT_S))
            if not asked:
                item.add_marker(pytest.mark.skip(reason=f"needs a Kubernetes cluster: make test-cluster, or set {CHOICE}"))


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The chosen cluster, with KServe."""
    found = chosen()
    kserve.install(found)
    return found


@pytest.fixture(scope="session")
def own_images(cluster: Cluster) -> dict[str, str]:
    """Penstock's images by member's name, built of this tree and in the cluster."""
    if cluster.kind == "kubeconfig":
        return {member: images.name_own(member) for member in images.members()}
    tags = images.build_own()
    for tag in tags.values():
        cluster.load(tag)
    return tags


@pytest.fixture(scope="session")
def chart(cluster: Cluster, own_images: dict[str, str]) -> Cluster:
    """The cluster with our chart installed, as it is without any value set; with PENSTOCK_CHART=kept as it stands, for a run
    beside another one."""
    if os.environ.get("PENSTOCK_CHART") != "kept":
        penstock_chart.install(cluster)
    return cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of one test's own, gone after it."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def flights(chart: Cluster, own_images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flights]:
    """The flights example: Redis, filled, and the bundle in a claim; nothing serves it yet."""
    name = f"flights-{secrets.token_hex(3)}"
    chart.kubectl("create", "namespace", name)
    penstock_chart.admit(chart, name)
    yield flights_example.install(chart, name, tmp_path_factory.mktemp("flights"), own_images["transformer"])
    chart.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def served(flights: Flights) -> Iterator[Flights]:
    """manifests/inferenceservice.yaml, applied in the example's place, ready, and reached."""
    flights.apply(flights_example.inference_service())
    flights.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{MODEL}", "--timeout=180s", timeout_s=200)
    for component in ("predictor", "transformer"):
        flights.kubectl("rollout", "status", f"deployment/{MODEL}-{component}", "--timeout=60s")
    serving.await_answers(flights, f"{MODEL}-transformer")
    yield flights
    flights.kubectl("delete", "inferenceservice", MODEL, "--timeout=60s")


@pytest.fixture(scope="session")
def next_bundle(flights: Flights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a second bundle, which is in the claim as the first is."""
    return versions.make_next_bundle(flights, tmp_path_factory.mktemp("next"))


@pytest.fixture(scope="session")
def variants(flights: Flights) -> list[Variant]:
    """Bundles that answer differently, in the example's claim."""
    return make_variants(flights, VARIANTS)


@pytest.fixture
def version(flights: Flights) -> Iterator[str]:
    """The name of a ModelVersion, which is gone after the test, with all that was made for it."""
    name = f"{MODEL}-{secrets.token_hex(2)}"
    yield name
    flights.kubectl("delete", "modelversion", name, "--ignore-not-found", "--timeout=120s")

"""manifests/collocated.yaml: transformer and predictor in one pod, which are rolled, and given another version, as others are.

A ModelVersion's predictor stands apart also here: the pods' transformers call it, and their own predictors for the rest.
"""

import json
from collections.abc import Iterator

import httpx
import pytest
from bed import flights as example
from bed import manifests
from bed.flights import CLAIM, RECORD, Flights
from bed.underway import load
from bed.variants import Variant
from bed.versions import check_load, manifest, penstock_rollout, told, wait_for, wait_live

NAME = "together"
SERVICE = f"{NAME}-predictor"
MARK = "penstock.dev/test-roll"


@pytest.fixture(scope="module")
def collocated(flights: Flights) -> Iterator[Flights]:
    """Applied under a name of its own beside the others, and ready."""
    flights.apply(manifests.collocated(NAME))
    flights.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{NAME}", "--timeout=180s", timeout_s=200)
    flights.kubectl("rollout", "status", f"deployment/{SERVICE}", "--timeout=60s")
    yield flights
    flights.kubectl("delete", "inferenceservice", NAME, "--timeout=60s")


@pytest.fixture
def its_version(collocated: Flights, version: str) -> Iterator[str]:
    """The name of a ModelVersion of it, gone after the test."""
    name = version.replace("flights", NAME)
    yield name
    collocated.kubectl("delete", "modelversion", name, "--ignore-not-found", "--timeout=120s")


def test_it_answers_with_stored_features(collocated: Flights) -> None:
    with (
        collocated.cluster.reach(collocated.namespace, SERVICE, 80) as (host, port),
        httpx.Client(base_url=f"http://{host}:{port}", timeout=30) as client,
    ):
        answer = client.get(f"/predict/{RECORD}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["Penstock-Bundle"].endswith(example.digest(collocated.bundle))


def test_its_pods_have_their_label(collocated: Flights) -> None:
    """The predictor's own labels go before the runtime's: the network rules go by that."""
    selector = f"--selector=serving.kserve.io/inferenceservice={NAME}"
    shown = collocated.kubectl("get", "pods", selector, r"--output=jsonpath={.items[*].metadata.labels.penstock\.dev/component}")
    assert set(shown.split()) == {"collocated"}


def test_no_request_fails_while_its_pods_are_replaced(collocated: Flights) -> None:
    with load(collocated, f"/predict/{RECORD}", SERVICE) as end:
        patch = json.dumps({"spec": {"predictor": {"annotations": {MARK: "one"}}}})
        collocated.kubectl("patch", "inferenceservice", NAME, "--type=merge", f"--patch={patch}")
        found = r"jsonpath={.spec.template.metadata.annotations.penstock\.dev/test-roll}"
        collocated.kubectl("wait", f"--for={found}=one", f"deployment/{SERVICE}", "--timeout=60s")
        collocated.kubectl("rollout", "status", f"deployment/{SERVICE}", "--timeout=180s", timeout_s=200)
        result = end()
    print(told(result))
    assert result["failures"] == []
    assert set(result["statuses"]) == {"200"}


def test_a_version_of_it_goes_live_and_back(collocated: Flights, variants: list[Variant], its_version: str) -> None:
    variant = variants[0]
    with load(collocated, f"/predict/{RECORD}", SERVICE) as end:
        uri = f"pvc://{CLAIM}/{variant.name}"
        collocated.apply(manifest(its_version, variant.folder, uri=uri, model=NAME, strategy="immediate"))
        wait_live(collocated, its_version)
        penstock_rollout(collocated, "rollback", its_version)
        wait_for(collocated, its_version, "phase", "RolledBack")
        result = end()
    check_load(collocated, variant.folder, result)

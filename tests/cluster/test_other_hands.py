"""Somebody else's hands: no InferenceService where one is named, one that is edited or deleted in mid-rollout."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bed import chart as penstock_chart
from bed import flights as example
from bed.cluster import Cluster
from bed.disturbing import settle
from bed.flights import MODEL, RECORD, SECRET, Flights
from bed.underway import load
from bed.versions import check_load, manifest, penstock_rollout, wait_for, wait_live

ALONE = "alone"
HALF: dict[str, Any] = {"strategy": "manual", "steps": [50, 100]}


def there(place: Flights, name: str) -> bool:
    return place.cluster.succeeds("--namespace", place.namespace, "get", "inferenceservice", name)


def incarnation(place: Flights, name: str) -> str:
    return place.kubectl("get", "inferenceservice", name, "--ignore-not-found", "--output=jsonpath={.metadata.uid}")


def half_way(served: Flights, bundle: Path, version: str) -> None:
    """Until the version gets half of the requests."""
    served.apply(manifest(version, bundle, replicas=2, **HALF))
    wait_for(served, version, "reason", "AwaitingPromotion")
    penstock_rollout(served, "promote", version, "--to", "50")
    wait_for(served, version, "weight", "50")


def finish(served: Flights, version: str) -> None:
    penstock_rollout(served, "promote", version, "--to", "100")
    wait_live(served, version)
    penstock_rollout(served, "rollback", version)
    wait_for(served, version, "phase", "RolledBack")


@pytest.fixture
def alone(flights: Flights) -> Iterator[str]:
    """The name of a model's first version, which has no InferenceService; what its transformers have to know is there."""
    url = flights.kubectl("get", "secret", SECRET, "--output=jsonpath={.data.url}")
    settings = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"penstock-transformer-{ALONE}"},
                "data": {"PENSTOCK_TRANSFORMER_FEATURE_STORE": url}}  # fmt: skip
    flights.apply(settings)
    yield f"{ALONE}-1"
    flights.kubectl("delete", "modelversion", f"{ALONE}-1", "--ignore-not-found", "--timeout=120s")


def test_without_an_inference_service_the_operator_runs_a_transformer(flights: Flights, next_bundle: Path, alone: str) -> None:
    flights.apply(manifest(alone, next_bundle, model=ALONE, strategy="immediate"))
    wait_live(flights, alone)
    owned = flights.kubectl("get", "inferenceservice", ALONE, r"--output=jsonpath={.metadata.labels.penstock\.dev/made-by}")
    assert owned == "operator"
    with flights.cluster.reach(flights.namespace, f"{ALONE}-predictor", 80) as (host, port):
        answer = httpx.get(f"http://{host}:{port}/predict/{RECORD}", timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Penstock-Bundle"].endswith(example.digest(next_bundle))
    flights.kubectl("delete", "modelversion", alone, "--timeout=180s")
    for made in (f"inferenceservice/{ALONE}", f"configmap/penstock-route-{ALONE}"):
        flights.kubectl("wait", "--for=delete", made, "--timeout=120s")


def test_a_versions_own_is_edited_in_mid_rollout_and_set_back(served: Flights, next_bundle: Path, version: str) -> None:
    """Its bundle, even: pods of another are not called by transformers, which name the digest that they want."""
    settle(served)
    with load(served, f"/predict/{RECORD}") as end:
        half_way(served, next_bundle, version)
        patch = {"spec": {"predictor": {"maxReplicas": 5, "model": {"storageUri": f"pvc://{example.CLAIM}/{MODEL}"}}}}
        served.kubectl("patch", "inferenceservice", version, "--type=merge", f"--patch={json.dumps(patch)}")
        own = f"jsonpath={{.spec.predictor.model.storageUri}}=pvc://{example.CLAIM}/flights-8"
        served.kubectl("wait", f"--for={own}", f"inferenceservice/{version}", "--timeout=60s")
        finish(served, version)
        result = end()
    check_load(served, next_bundle, result)


def test_a_versions_own_is_deleted_in_mid_rollout_and_made_anew(served: Flights, next_bundle: Path, version: str) -> None:
    settle(served)
    with load(served, f"/predict/{RECORD}") as end:
        half_way(served, next_bundle, version)
        before = incarnation(served, version)
        served.kubectl("delete", "inferenceservice", version, "--timeout=120s")
        wait_for(served, version, "weight", "50")
        assert incarnation(served, version) != before
        finish(served, version)
        result = end()
    check_load(served, next_bundle, result)


def test_a_version_deleted_in_mid_rollout_gives_its_requests_back(served: Flights, next_bundle: Path, version: str) -> None:
    settle(served)
    with load(served, f"/predict/{RECORD}") as end:
        half_way(served, next_bundle, version)
        served.kubectl("delete", "modelversion", version, "--timeout=180s")
        gone_at = time.time()
        pods = f"--selector=serving.kserve.io/inferenceservice={version}"
        served.kubectl("wait", "--for=delete", f"inferenceservice/{version}", "--timeout=120s")
        served.kubectl("wait", "--for=delete", "pods", pods, "--timeout=120s")
        result = end()
    check_load(served, next_bundle, result)
    assert {named for at, named, _ in result["answers"] if at > gone_at} == {f"{MODEL}@{example.digest(served.bundle)}"}


def test_the_users_own_is_edited_in_mid_rollout_and_stays_as_edited(served: Flights, next_bundle: Path, version: str) -> None:
    """Transformers and predictors are both replaced by it."""
    settle(served)
    mark = {"annotations": {"penstock.dev/test-edit": version}}
    with load(served, f"/predict/{RECORD}") as end:
        half_way(served, next_bundle, version)
        patch = json.dumps({"spec": {"transformer": mark, "predictor": mark}})
        served.kubectl("patch", "inferenceservice", MODEL, "--type=merge", f"--patch={patch}")
        for component in ("transformer", "predictor"):
            found = r"jsonpath={.spec.template.metadata.annotations.penstock\.dev/test-edit}"
            served.kubectl("wait", f"--for={found}={version}", f"deployment/{MODEL}-{component}", "--timeout=60s")
        finish(served, version)
        result = end()
    check_load(served, next_bundle, result)
    shown = served.kubectl(
        "get", "inferenceservice", MODEL, r"--output=jsonpath={.spec.transformer.annotations.penstock\.dev/test-edit}"
    )
    assert shown == version
    settle(served)


def test_the_users_own_is_deleted_in_mid_rollout_and_applied_again(served: Flights, next_bundle: Path, version: str) -> None:
    """Callers reach nobody meanwhile: that is what its user asked for. The condition names it, nothing goes on, and nothing is
    made in its place."""
    half_way(served, next_bundle, version)
    served.kubectl("delete", "inferenceservice", MODEL, "--timeout=120s")
    try:
        wait_for(served, version, "conditions[?(@.type=='Acknowledged')].reason", "NoTransformer")
        penstock_rollout(served, "promote", version, "--to", "100")
        assert not there(served, MODEL)
    finally:
        served.apply(example.inference_service())
    served.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{MODEL}", "--timeout=180s", timeout_s=200)
    wait_live(served, version)
    settle(served)
    with load(served, f"/predict/{RECORD}") as end:
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        result = end()
    check_load(served, next_bundle, result)


def test_helm_says_that_the_chart_is_well(chart: Cluster) -> None:
    print(chart.helm("test", penstock_chart.RELEASE, "--namespace", penstock_chart.NAMESPACE, "--logs"))

"""A version's predictors scale by their requests in flight: the operator's autoscaler, Kubernetes' own controller, and KServe,
which makes none beside it and leaves replicas alone. With one pod, which is all that its Deployment starts with, the version
would not come Live.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import chart as penstock_chart
from bed.flights import MODEL, RECORD, Flights
from bed.metrics_api import custom_metrics
from bed.underway import load
from bed.versions import check_load, manifest, penstock_rollout, wait_live

LEAST, MOST, IN_FLIGHT = 2, 3, 8


@pytest.fixture
def scaling(served: Flights) -> Iterator[Flights]:
    """The example's place, with an operator that scales what it runs."""
    if served.cluster.kind != "own":
        pytest.skip("this machine reaches pods of our own cluster only: PENSTOCK_CLUSTER=own")
    setting = "--set=operator.autoscaling.predictor.inFlight={}"
    with custom_metrics(served.cluster, served.namespace):
        penstock_chart.upgrade(served.cluster, setting.format(IN_FLIGHT))
        try:
            yield served
        finally:
            penstock_chart.upgrade(served.cluster, setting.format(0))


def scalers(place: Flights) -> dict[str, Any]:
    """The autoscalers that there are, by name."""
    found = json.loads(place.kubectl("get", "horizontalpodautoscalers", "--output=json"))["items"]
    return {one["metadata"]["name"]: one for one in found}


def test_a_versions_predictors_follow_their_work_in_flight(scaling: Flights, next_bundle: Path, version: str) -> None:
    document = manifest(version, next_bundle, strategy="immediate")
    document["spec"]["runtime"]["replicas"] = {"min": LEAST, "max": MOST}
    name = f"{version}-in-flight"
    with load(scaling, f"/predict/{RECORD}") as end:
        scaling.apply(document)
        wait_live(scaling, version)
        scaling.kubectl(
            "wait", "--for=condition=ScalingActive", f"horizontalpodautoscaler/{name}", "--timeout=180s", timeout_s=200
        )
        there = scalers(scaling)
        deployment = json.loads(scaling.kubectl("get", "deployment", f"{version}-predictor", "--output=json"))
        penstock_rollout(scaling, "rollback", version, "--reason", "a test")
        # Nobody deletes it but the garbage collector, with the InferenceService that it belongs to.
        scaling.kubectl("wait", "--for=delete", f"horizontalpodautoscaler/{name}", "--timeout=120s", timeout_s=140)
        result = end()
    print(there[name]["status"])
    assert not [other for other in there if other.startswith(version) and other != name], "KServe made one, too"
    assert not [other for other in there if other == f"{MODEL}-in-flight"], "the user's own is the user's to scale"
    assert deployment["status"]["readyReplicas"] >= LEAST
    check_load(scaling, next_bundle, result)

"""What the operator asks KServe for."""

from typing import Any

import pytest

from penstock_operator.inference_service import predictor_service, read_service
from penstock_operator.model_version import read_model_version
from penstock_operator.policy import Policy

CLASS = "serving.kserve.io/autoscalerClass"


def made(replicas: dict[str, Any]) -> dict[str, Any]:
    """The InferenceService of a version with these replicas."""
    metadata = {"namespace": "n", "name": "flights-7", "uid": "u", "resourceVersion": "3", "generation": 2}
    bundle = {"uri": "pvc://claim/flights", "digest": "sha256:" + "a" * 64}
    spec = {"inferenceService": "flights", "bundle": bundle, "runtime": {"replicas": replicas}}
    return predictor_service(read_model_version({"metadata": metadata, "spec": spec}), Policy())


@pytest.mark.parametrize("replicas, most", [({"min": 2}, 2), ({"min": 2, "max": 2}, 2)])
def test_all_pods_start_at_once_where_nothing_scales(replicas: dict[str, Any], most: int) -> None:
    document = made(replicas)
    assert document["metadata"]["annotations"][CLASS] == "none"
    assert (document["spec"]["predictor"]["minReplicas"], document["spec"]["predictor"]["maxReplicas"]) == (2, most)


def test_what_scales_is_left_to_kserves_autoscaler() -> None:
    document = made({"min": 2, "max": 8})
    assert CLASS not in document["metadata"]["annotations"]
    assert document["spec"]["predictor"]["maxReplicas"] == 8


def seen(observed: int, ready: str) -> dict[str, Any]:
    """As KServe's controller 0.20 writes it."""
    conditions = [
        {"type": "PredictorReady", "status": ready, "message": "1 of 2 pods"},
        {"type": "Ready", "status": ready, "message": "1 of 2 pods"},
        {"type": "Stopped", "status": "False", "severity": "Info"},
    ]
    metadata = {"name": "flights-7", "generation": 2}
    return {"metadata": metadata, "spec": {}, "status": {"observedGeneration": observed, "conditions": conditions}}


@pytest.mark.parametrize("observed, ready", [(1, False), (2, True), (3, True)])
def test_ready_counts_unless_it_is_that_of_an_earlier_spec(observed: int, ready: bool) -> None:
    assert read_service(seen(observed, "True")).ready is ready


def test_what_is_only_told_is_not_what_it_waits_for() -> None:
    assert read_service(seen(2, "False")).message == "PredictorReady: 1 of 2 pods; Ready: 1 of 2 pods"
    assert read_service(seen(2, "True")).message == ""

"""Autoscalers that the operator makes: told of by the chart, with the rights for them, and of the form of the chart's own."""

from collections.abc import Callable, Sequence
from typing import Any

from penstock.settings import parse
from penstock_operator.policy import Policy
from penstock_operator.scaling import wanted_scalers
from penstock_operator.seen import InferenceService, Seen
from penstock_operator.settings import OperatorSettings

Document = dict[str, Any]
Render = Callable[..., Sequence[Document]]

SCALERS = "horizontalpodautoscalers"
ON = {"predictor": {"inFlight": 8}, "transformer": {"inFlight": 1000000, "minReplicas": 3}, "scaleDownAfterSeconds": 45}


def policy_of(documents: Sequence[Document]) -> Policy:
    """What the operator makes of its environment."""
    (pod,) = [
        d["spec"]["template"]["spec"] for d in documents if d["kind"] == "Deployment" and "operator" in d["metadata"]["name"]
    ]
    environment = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
    return parse(OperatorSettings, [], environment, "PENSTOCK_OPERATOR").policy()


def verbs(documents: Sequence[Document]) -> list[str]:
    """What the operator may do with autoscalers."""
    rules = [rule for d in documents if d["kind"] in ("Role", "ClusterRole") for rule in d["rules"]]
    return [verb for rule in rules if SCALERS in rule["resources"] for verb in rule["verbs"]]


def test_it_is_off_and_without_rights_until_it_is_asked_for(render: Render) -> None:
    documents = render()
    assert policy_of(documents).scales is False
    assert verbs(documents) == []


def test_asked_for_it_is_told_and_has_the_rights(render: Render) -> None:
    documents = render({"operator": {"autoscaling": ON}})
    policy = policy_of(documents)
    assert (policy.predictor_in_flight, policy.transformer_in_flight, policy.scale_down_s) == (8, 1000000, 45)
    assert (policy.transformer_replicas, policy.transformer_most) == (3, 10)
    assert set(verbs(documents)) == {"list", "watch", "create", "patch", "delete"}


def test_either_alone_is_enough(render: Render) -> None:
    for part in ("predictor", "transformer"):
        documents = render({"operator": {"autoscaling": {part: {"inFlight": 4}}}})
        policy = policy_of(documents)
        assert (policy.predictor_in_flight, policy.transformer_in_flight) == (
            4 * (part == "predictor"),
            4 * (part == "transformer"),
        )
        assert verbs(documents)


def test_they_have_the_form_of_the_charts_own(render: Render) -> None:
    scaling = {"enabled": True, "minReplicas": 2, "maxReplicas": 6, "inFlight": 8, "scaleDownAfterSeconds": 45}
    documents = render({"models": [{"name": "flights", "predictor": {"autoscaling": scaling}}], "operator": {"autoscaling": ON}})
    (charts,) = [d for d in documents if d["kind"] == "HorizontalPodAutoscaler"]
    metadata = {"name": "flights", "annotations": {"serving.kserve.io/autoscalerClass": "external"}}
    document = {"metadata": metadata, "spec": {"predictor": {"minReplicas": 2, "maxReplicas": 6}}}
    service = InferenceService("flights", "u", "1", owner="v", document=document)
    (ours,) = wanted_scalers(Seen("n", "flights", 0.0, services={"flights": service}), policy_of(documents))
    assert ours["apiVersion"] == charts["apiVersion"]
    assert ours["spec"] == charts["spec"]

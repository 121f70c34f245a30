"""The operator is told what the runtimes give their pods: a verification has the same."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

Document = dict[str, Any]
Render = Callable[..., Sequence[Document]]

PLACED = {
    "nodeSelector": {"pool": "gpus"},
    "tolerations": [{"key": "dedicated", "operator": "Equal", "value": 'a"b', "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": []}]}}
    },
}


def told(documents: Sequence[Document]) -> dict[str, str]:
    """The operator's environment."""
    (pod,) = [
        d["spec"]["template"]["spec"] for d in documents if d["kind"] == "Deployment" and "operator" in d["metadata"]["name"]
    ]
    return {variable["name"].removeprefix("PENSTOCK_OPERATOR_"): variable["value"] for variable in pod["containers"][0]["env"]}


def given(documents: Sequence[Document], name: str) -> Document:
    """What a runtime gives a pod."""
    (spec,) = [d["spec"] for d in documents if d["kind"] == "ClusterServingRuntime" and d["metadata"]["name"] == name]
    placement = {field: spec.get(field) for field in PLACED}
    return {name: value for name, value in {"resources": spec["containers"][0]["resources"], **placement}.items() if value}


@pytest.mark.parametrize("name", ["default", "values-development", "values-production", "everything"])
@pytest.mark.parametrize("placed", [{}, PLACED], ids=["as shipped", "placed"])
def test_a_verification_has_what_the_runtimes_pods_have(render: Render, name: str, placed: Document) -> None:
    documents = render({"predictor": {"cpu": placed, "gpu": {"enabled": True, **placed}}}, name)
    for variable, runtime in (("PREDICTOR_POD", "penstock-predictor"), ("PREDICTOR_GPU_POD", "penstock-predictor-gpu")):
        pod = {field: value for field, value in json.loads(told(documents)[variable]).items() if value}
        assert pod == given(documents, runtime)
        assert set(placed) <= set(pod)


def test_secrets_of_the_registry_reach_what_the_operator_starts(render: Render) -> None:
    assert told(render({"image": {"pullSecrets": ["registry", "mirror"]}}))["IMAGE_PULL_SECRETS"] == "registry,mirror"
    assert "IMAGE_PULL_SECRETS" not in told(render())

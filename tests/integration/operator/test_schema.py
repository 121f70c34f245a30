"""What the API server refuses of a ModelVersion, by the field, and what it fills in."""

import json
from typing import Any

import pytest

from penstock.testing.kubernetes import MERGE, ApiStatus, KubernetesServer

PATH = "/apis/penstock.dev/v1alpha1/namespaces/default/modelversions"
GROUP = "/apis/penstock.dev/v1alpha1"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
DIGEST = "sha256:" + "a" * 64


def document(name: str = "flights-7", **spec: Any) -> dict[str, Any]:
    found = {"inferenceService": "flights", "bundle": {"uri": "pvc://claim/flights", "digest": DIGEST}, **spec}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "penstock.dev/v1alpha1", "kind": "ModelVersion", "metadata": metadata, "spec": found}


def bundle(**changed: str) -> dict[str, str]:
    return {"uri": "pvc://claim/flights", "digest": DIGEST, **changed}


@pytest.mark.parametrize(
    "spec, field",
    [
        ({"inferenceService": None}, "spec.inferenceService"),
        ({"inferenceService": "Flights"}, "spec.inferenceService"),
        ({"bundle": None}, "spec.bundle"),
        ({"bundle": bundle(digest="sha256:abc")}, "spec.bundle.digest"),
        ({"bundle": bundle(uri="/mnt/models")}, "spec.bundle.uri"),
        ({"bundle": bundle(uri="https://user:word@host/b")}, "expected no user and password"),
        ({"rollout": {"steps": []}}, "spec.rollout.steps"),
        ({"rollout": {"steps": [50, 5, 100]}}, "expected rising numbers"),
        ({"rollout": {"steps": [5, 5, 100]}}, "expected rising numbers"),
        ({"rollout": {"steps": [5, 50]}}, "expected 100 as the last step"),
        ({"rollout": {"steps": [0, 100]}}, "spec.rollout.steps"),
        ({"rollout": {"strategy": "fast"}}, "spec.rollout.strategy"),
        ({"rollout": {"shadow": {"fraction": 0}}}, "spec.rollout.shadow.fraction"),
        ({"rollout": {"alpha": 0.9}}, "spec.rollout.alpha"),
        ({"rollout": {"margins": {"latencyP99": 0.5}}}, "spec.rollout.margins.latencyP99"),
        ({"rollout": {"maxDuration": "two hours"}}, "spec.rollout.maxDuration"),
        ({"runtime": {"replicas": {"min": 3, "max": 2}}}, "expected at least min"),
        ({"runtime": {"device": "tpu"}}, "spec.runtime.device"),
        ({"runtime": {"resources": {"limits": {"memory": "lots"}}}}, "spec.runtime.resources.limits.memory"),
        ({"runtime": {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}}}, "expected no more than limits"),
        ({"runtime": {"serviceAccountName": "Models"}}, "spec.runtime.serviceAccountName"),
        ({"bundle": bundle(uri="pvc://claim/../others")}, "expected a path inside of the claim"),
        ({"rollout": {"maxDuration": "0s"}}, "expected more than no time at all"),
    ],
)
def test_a_spec_that_is_wrong_is_refused_by_its_field(kubernetes: KubernetesServer, spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ApiStatus) as caught:
        kubernetes.request("POST", PATH, document(**spec))
    assert caught.value.status == 422
    assert field in str(caught.value)


@pytest.mark.parametrize("name", ["7flights", "flights.7", "x" * 42])
def test_a_name_that_cannot_be_a_service_is_refused(kubernetes: KubernetesServer, name: str) -> None:
    with pytest.raises(ApiStatus, match=r"metadata\.name"):
        kubernetes.request("POST", PATH, document(name))


def test_defaults_are_filled_in_and_the_digest_stays(kubernetes: KubernetesServer) -> None:
    made = kubernetes.request("POST", PATH, document())
    assert made["spec"]["rollout"]["steps"] == [5, 25, 50, 100]
    assert made["spec"]["rollout"]["margins"]["latencyP99"] == 1.25
    assert made["spec"]["runtime"] == {"device": "auto", "replicas": {"min": 1}}
    for change in ({"bundle": {"digest": "sha256:" + "b" * 64}}, {"inferenceService": "others"}):
        with pytest.raises(ApiStatus, match="cannot be changed"):
            kubernetes.request("PATCH", f"{PATH}/flights-7", {"spec": change}, kind=MERGE)
    kubernetes.request("DELETE", f"{PATH}/flights-7")


def test_resources_are_taken_as_a_pod_takes_them(kubernetes: KubernetesServer) -> None:
    requests, limits = {"cpu": "500m", "memory": "1Gi"}, {"cpu": 1, "memory": "1024Mi", "nvidia.com/gpu": 1}
    made = kubernetes.request("POST", PATH, document(runtime={"resources": {"requests": requests, "limits": limits}}))
    kubernetes.request("DELETE", f"{PATH}/flights-7")
    assert made["spec"]["runtime"]["resources"] == {"requests": requests, "limits": limits}


def test_a_glance_tells_the_story(kubernetes: KubernetesServer) -> None:
    """What `kubectl get mv` shows, which asks the API server for a table, and the short name that it asks by."""
    kubernetes.request("POST", PATH, document("flights-9"))
    status = {"bundle": "aaaaaaaaaaaa", "phase": "Canary", "weight": 25, "reason": "AwaitingPromotion"}
    try:
        kubernetes.request("PATCH", f"{PATH}/flights-9/status", {"status": status}, kind=MERGE)
        table = json.loads(kubernetes.send("GET", f"{PATH}/flights-9", accept=TABLE))
    finally:
        kubernetes.request("DELETE", f"{PATH}/flights-9")
    shown = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert shown == ["Name", "Model", "Bundle", "Phase", "Weight", "Reason", "Age"]
    assert table["rows"][0]["cells"][:6] == ["flights-9", "flights", "aaaaaaaaaaaa", "Canary", 25, "AwaitingPromotion"]
    (served,) = [one for one in kubernetes.request("GET", GROUP)["resources"] if one["name"] == "modelversions"]
    assert served["shortNames"] == ["mv"]

"""What the API server refuses of a ModelVersion, by the field, and what it fills in."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from penstock.testing.definitions import chart_definition
from penstock.testing.kubernetes import MERGE, ApiStatus, KubernetesServer
from penstock.testing.waiting import until

TEMPLATE = Path(__file__).parents[3] / "charts/penstock/templates/modelversion-crd.yaml"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
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
    assert made["spec"]["rollout"]["steps"] == [10, 50, 100]
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


def test_no_service_account_is_the_namespaces_own(kubernetes: KubernetesServer) -> None:
    """The schema of release 0.1 took the empty name."""
    made = kubernetes.request("POST", PATH, document(runtime={"serviceAccountName": ""}))
    kubernetes.request("DELETE", f"{PATH}/flights-7")
    assert made["spec"]["runtime"]["serviceAccountName"] == ""


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


EARLIER = "earlier.penstock.dev"
WRONG = {
    "bundle": {"uri": "pvc://claim/../others", "digest": DIGEST},
    "runtime": {
        "serviceAccountName": "Models",
        "resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m", "memory": "lots"}},
    },
    "rollout": {"maxDuration": "0s"},
}


def test_what_an_earlier_schema_took_is_written_to_though_this_one_would_refuse_it(kubernetes: KubernetesServer) -> None:
    """The operator could neither tell its status nor let it go (before Kubernetes 1.30). Under a group of its own."""
    strict = chart_definition(TEMPLATE)
    strict["metadata"]["name"], strict["spec"]["group"] = f"modelversions.{EARLIER}", EARLIER
    del strict["spec"]["names"]["shortNames"]
    loose = deepcopy(strict)
    for schema in schemas(loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]):
        for rule in ("pattern", "x-kubernetes-validations"):
            schema.pop(rule, None)
    kubernetes.define(loose)
    path = f"/apis/{EARLIER}/v1alpha1/namespaces/default/modelversions"
    stored = document(**WRONG) | {"apiVersion": f"{EARLIER}/v1alpha1"}
    kubernetes.request("POST", path, stored)
    kubernetes.request("PATCH", f"{DEFINITIONS}/modelversions.{EARLIER}", {"spec": strict["spec"]}, kind=MERGE)
    new = {**stored, "metadata": {**stored["metadata"], "name": "flights-8"}}
    until(lambda: is_refused(kubernetes, path, new), 30.0, "the schema is this one")
    one = f"{path}/flights-7"
    status = {"apiVersion": stored["apiVersion"], "kind": stored["kind"], "metadata": stored["metadata"]}
    kubernetes.apply(f"{one}/status", {**status, "status": {"phase": "Live"}})
    for finalizers in (["penstock.dev/route"], []):
        kubernetes.request("PATCH", one, {"metadata": {"finalizers": finalizers}}, kind=MERGE)
    assert kubernetes.request("GET", one)["status"] == {"phase": "Live"}
    with pytest.raises(ApiStatus, match="serviceAccountName"):
        kubernetes.request("PATCH", one, {"spec": {"runtime": {"serviceAccountName": "Others"}}}, kind=MERGE)
    kubernetes.request("DELETE", f"{DEFINITIONS}/modelversions.{EARLIER}")


def schemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """This one and those inside of it."""
    yield schema
    more = schema.get("additionalProperties")
    for inner in [*(schema.get("properties") or {}).values(), *([more] if isinstance(more, dict) else [])]:
        yield from schemas(inner)


def is_refused(kubernetes: KubernetesServer, path: str, made: dict[str, Any]) -> bool:
    try:
        kubernetes.request("POST", f"{path}?dryRun=All", made)
    except ApiStatus as error:
        return error.status == 422
    return False

"""What the operator asks KServe for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.settings import parse
from penstock_operator.baseline import BUNDLE, baseline_name, own_predictor
from penstock_operator.inference_service import baseline_service, caller_service, predictor_service, read_service
from penstock_operator.model_version import ModelVersion, read_model_version
from penstock_operator.policy import Policy
from penstock_operator.seen import Seen
from penstock_transformer.settings import TransformerSettings

ROOT = Path(__file__).parents[3]
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


def alone(**policy: Any) -> dict[str, Any]:
    """The container of a transformer that the operator starts."""
    document = caller_service(Seen("n", "flights", 0.0), Policy(**policy))
    container: dict[str, Any] = document["spec"]["predictor"]["containers"][0]
    return container


def test_a_transformer_takes_its_settings_from_the_models_namespace() -> None:
    named = {"name": "penstock-transformer-flights", "optional": True}
    assert alone()["envFrom"] == [{"configMapRef": named}, {"secretRef": named}]
    assert alone(transformer_settings="ours")["envFrom"][0]["configMapRef"]["name"] == "ours"
    assert alone(transformer_settings="")["envFrom"] == []


def test_a_transformer_is_told_of_its_route_by_name() -> None:
    assert "--route_configmap=penstock-route-flights" in alone()["args"]


def test_its_arguments_are_its_programs() -> None:
    settings = parse(TransformerSettings, [*alone()["args"], "--feature_store=redis://r:1"], {}, "PENSTOCK_TRANSFORMER")
    assert settings.model_name == "flights"
    assert settings.route_configmap == "penstock-route-flights"


def test_it_asks_for_what_the_manifests_transformer_asks_for() -> None:
    """KServe would fill in a CPU of its own: a whole one, and no more."""
    documents = yaml.safe_load_all((ROOT / "manifests/inferenceservice.yaml").read_text())
    (service,) = [one for one in documents if one and one["kind"] == "InferenceService"]
    assert alone()["resources"] == service["spec"]["transformer"]["containers"][0]["resources"]
    assert alone(transformer_cpu="1")["resources"]["requests"]["cpu"] == "1"


def test_its_probes_are_the_runtimes_own() -> None:
    """Readers of one page of documentation expect one answer."""
    runtime = (ROOT / "charts/penstock/templates/servingruntimes.yaml").read_text()
    for name in ("startupProbe", "livenessProbe"):
        (written,) = (line.strip() for line in runtime.splitlines() if line.strip().startswith(f"{name}:"))
        assert yaml.safe_load(written)[name] == alone()[name]


def candidate(replicas: dict[str, Any]) -> ModelVersion:
    metadata = {"namespace": "n", "name": "flights-8", "uid": "u8", "resourceVersion": "3", "generation": 2}
    bundle = {"uri": "pvc://claim/flights-8", "digest": "sha256:" + "b" * 64}
    runtime = {"replicas": replicas, "device": "cuda", "resources": {"limits": {"cpu": "8"}}}
    return read_model_version(
        {"metadata": metadata, "spec": {"inferenceService": "flights", "bundle": bundle, "runtime": runtime}}
    )


def test_a_baseline_of_the_users_own_predictor_is_that_predictor_with_other_replicas() -> None:
    own = {
        "model": {"modelFormat": {"name": "onnx"}, "storageUri": "s3://bucket/own", "resources": {"limits": {"cpu": "2"}}},
        "serviceAccountName": "reader",
        "minReplicas": 6,
        "maxReplicas": 20,
        "canaryTrafficPercent": 10,
    }
    service = read_service({"metadata": {"name": "flights"}, "spec": {"predictor": own, "transformer": {}}})
    seen = Seen("n", "flights", 0.0, service=service)
    digest = "sha256:" + "c" * 64
    document = baseline_service(candidate({"min": 2}), None, digest, seen, Policy())
    assert document["spec"]["predictor"] == {
        "model": own["model"], "serviceAccountName": "reader", "minReplicas": 2, "maxReplicas": 2
    }  # fmt: skip
    metadata = document["metadata"]
    assert metadata["name"] == "flights-8-base"
    assert metadata["annotations"][BUNDLE] == digest
    assert metadata["annotations"][CLASS] == "none"
    assert metadata["labels"]["penstock.dev/arm"] == "baseline"
    assert metadata["ownerReferences"][0]["uid"] == "u8"
    assert own_predictor(replace(seen, collocated=True)) is None
    assert own_predictor(replace(seen, service=None)) is None


def test_a_baseline_runs_as_the_version_before_and_not_as_the_candidate() -> None:
    metadata = {"namespace": "n", "name": "flights-7", "uid": "u7", "resourceVersion": "3", "generation": 2}
    bundle = {"uri": "pvc://claim/flights-7", "digest": "sha256:" + "a" * 64}
    runtime = {"replicas": {"min": 6}, "resources": {"limits": {"cpu": "2"}}, "serviceAccountName": "reader"}
    base = read_model_version(
        {"metadata": metadata, "spec": {"inferenceService": "flights", "bundle": bundle, "runtime": runtime}}
    )
    document = baseline_service(
        candidate({"min": 2, "max": 4}), base, base.spec.bundle.digest, Seen("n", "flights", 0.0), Policy()
    )
    predictor = document["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"], predictor["serviceAccountName"]) == (2, 4, "reader")
    assert predictor["model"]["resources"] == {"limits": {"cpu": "2"}}
    assert predictor["model"]["runtime"] == Policy().runtime
    assert predictor["model"]["storageUri"] == "pvc://claim/flights-7"


def test_the_longest_name_of_a_baseline_is_one_for_a_service() -> None:
    """The schema's longest name of a version's InferenceService has 45 characters; KServe puts `-predictor` behind."""
    longest = read_model_version({
        "metadata": {"namespace": "n", "name": "m-" + "v" * 43, "uid": "u"},
        "spec": {"inferenceService": "m", "bundle": {"uri": "pvc://c/p", "digest": "sha256:" + "a" * 64}},
    })  # fmt: skip
    assert len(longest.predictor) == 45
    assert len(f"{baseline_name(longest)}-predictor") <= 63

"""The InferenceServices that the operator makes, and what one that was seen says.

    predictor_service    a version's own: predictor only, ordinary autoscaling, ordinary readiness
    baseline_service     fresh pods of the version before, for as long as a candidate is compared with them
    caller_service       a model's transformer alone, where the user has applied no InferenceService

KServe wants a predictor in every InferenceService; the transformer that runs alone is in its place.
"""

from typing import Any

from penstock_operator.baseline import ARM, BUNDLE, baseline_name, own_predictor
from penstock_operator.model_version import GROUP, KIND, ModelVersion, Replicas
from penstock_operator.policy import Policy
from penstock_operator.route import route_name
from penstock_operator.scaling import MADE_BY, scaled_by, scaling_of
from penstock_operator.seen import InferenceService, Seen
from penstock_operator.verification_job import (
    ATTEMPT,
    CONTAINER,
    MODEL_LABEL,
    VERSION_LABEL,
    on_gpu,
    owner_reference,
    pull_secrets,
)  # fmt: skip

ARM_LABEL = f"{GROUP}/arm"
_API = "serving.kserve.io/v1beta1"
_STANDARD = {"serving.kserve.io/deploymentMode": "Standard"}


def predictor_service(version: ModelVersion, policy: Policy, seen: Seen | None = None) -> dict[str, Any]:
    """The InferenceService of a version; as many pods as `replicas.min` from the start, where there is nothing to scale. `seen`:
    what is there now.

    Its annotation changes with each attempt, and with it the resourceVersion: an operator that still means to delete what an
    earlier attempt left cannot delete this one.
    """
    annotations = {ATTEMPT: str(version.status.attempt)}
    return _predictor_only(version, version.predictor, _predictor(version, policy), annotations, policy, seen)


def baseline_service(version: ModelVersion, base: ModelVersion | None, digest: str, seen: Seen, policy: Policy) -> dict[str, Any]:
    """The InferenceService of a candidate's baseline: the pods of `base` (None: of the user's own predictor) as they are, but as
    many as the candidate's. It is the candidate's, and goes with it."""
    annotations = {ATTEMPT: str(version.status.attempt), BUNDLE: digest}
    if base is not None:
        predictor = _predictor(base, policy)
    else:
        own = own_predictor(seen) or {}
        # How many there are, and what of them gets requests, is the trial's.
        predictor = {name: value for name, value in own.items() if name not in _OF_THE_SHARE}
    document = _predictor_only(version, baseline_name(version), predictor, annotations, policy)
    document["metadata"]["labels"][ARM_LABEL] = ARM
    return document


_OF_THE_SHARE = frozenset({
    "minReplicas", "maxReplicas", "canaryTrafficPercent", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling",
})  # fmt: skip


def _predictor(version: ModelVersion, policy: Policy) -> dict[str, Any]:
    runtime = version.spec.runtime
    model: dict[str, Any] = {
        "modelFormat": {"name": "penstock-bundle"},
        "runtime": policy.gpu_runtime if on_gpu(version) else policy.runtime,
        "protocolVersion": "v2",
        "storageUri": version.spec.bundle.uri,
    }
    if runtime.resources is not None:
        model["resources"] = runtime.resources
    if runtime.device not in ("auto", "cpu", "cuda"):
        model["args"] = [f"--device={runtime.device}"]
    predictor: dict[str, Any] = {"model": model}
    if runtime.service_account_name:
        predictor["serviceAccountName"] = runtime.service_account_name
    return predictor


def _predictor_only(
    version: ModelVersion,
    name: str,
    predictor: dict[str, Any],
    annotations: dict[str, str],
    policy: Policy,
    seen: Seen | None = None,
) -> dict[str, Any]:
    """An InferenceService of a version, with as many pods as it asks for."""
    replicas: Replicas = version.spec.runtime.replicas
    least = replicas.min
    most = max(least, replicas.max or least)
    metadata = {
        "name": name,
        "namespace": version.namespace,
        "labels": {
            MODEL_LABEL: version.spec.inference_service,
            VERSION_LABEL: version.name,
            "networking.kserve.io/visibility": "cluster-local",
        },
        "annotations": {**_STANDARD, **scaling_of(name, least, most, policy, seen), **annotations},
        "ownerReferences": [owner_reference(version)],
    }
    spec = {"predictor": {"minReplicas": least, "maxReplicas": most, **predictor}}
    return {"apiVersion": _API, "kind": "InferenceService", "metadata": metadata, "spec": spec}


def caller_service(seen: Seen, policy: Policy) -> dict[str, Any]:
    """The InferenceService that runs a model's transformer alone."""
    metadata = {
        "name": seen.model,
        "namespace": seen.namespace,
        # KServe calls its pods a predictor's: by `component` the chart's network rules and budgets know better.
        "labels": {
            MADE_BY: "operator",
            MODEL_LABEL: seen.model,
            f"{GROUP}/route": seen.model,
            f"{GROUP}/component": "transformer",
        },
        "annotations": {**_STANDARD, **scaled_by(policy.transformer_in_flight, seen.service)},
    }
    container = {
        "name": CONTAINER,
        "image": policy.transformer_image,
        "imagePullPolicy": policy.image_pull_policy,
        "args": [
            f"--model_name={seen.model}",
            "--http_port=8080",
            f"--route_configmap={route_name(seen.model)}",
            # A container that restarts while the API server is away goes on with the last route.
            "--route_cache=/tmp/route",
        ],
        # KServe puts these on the Service; the admin port is not for callers.
        "ports": [
            {"name": "http1", "containerPort": 8080, "protocol": "TCP"},
            {"name": "grpc", "containerPort": 8081, "protocol": "TCP"},
        ],
        "envFrom": _settings(seen.model, policy),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        **_probes(),
        # As manifests/inferenceservice.yaml. KServe gives what names no CPU a whole one, and no more than that.
        "resources": {
            "requests": {"cpu": policy.transformer_cpu, "memory": "256Mi"},
            "limits": {"cpu": "2", "memory": policy.transformer_memory},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    predictor = {
        "minReplicas": policy.transformer_replicas,
        "serviceAccountName": policy.transformer_account,
        **pull_secrets(policy),
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    if policy.transformer_in_flight > 0:
        predictor["maxReplicas"] = max(policy.transformer_replicas, policy.transformer_most)
    return {"apiVersion": _API, "kind": "InferenceService", "metadata": metadata, "spec": {"predictor": predictor}}


def _settings(model: str, policy: Policy) -> list[dict[str, Any]]:
    """A ConfigMap and a Secret of the model's namespace for what the operator cannot know, the feature store before all. Neither
    has to be there."""
    named = {"name": policy.transformer_settings.replace("{model}", model), "optional": True}
    return [{"configMapRef": named}, {"secretRef": dict(named)}] if policy.transformer_settings else []


def _probes() -> dict[str, Any]:
    """As the chart's, and for its reasons (docs/operations.md): slow is no reason to be killed."""
    live, ready = ({"path": f"/v2/health/{what}", "port": 8080} for what in ("live", "ready"))
    return {
        "startupProbe": {"httpGet": live, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 120},
        "readinessProbe": {"httpGet": ready, "periodSeconds": 2, "timeoutSeconds": 2},
        "livenessProbe": {"httpGet": live, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
    }


def read_service(document: dict[str, Any], starts: tuple[str, ...] = ()) -> InferenceService:
    """What an InferenceService says; `starts`: of its pods."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    status = document.get("status") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    ready = conditions.get("Ready") or {}
    # KServe was seen to note a generation that is one more than the API server's, for good.
    current = status.get("observedGeneration", metadata.get("generation", 0)) >= metadata.get("generation", 0)
    owners = metadata.get("ownerReferences") or []
    containers = (spec.get("predictor") or {}).get("containers") or []
    collocated = any(container.get("name") == "transformer-container" for container in containers)
    return InferenceService(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        owner=next((owner.get("uid", "") for owner in owners if owner.get("kind") == KIND), ""),
        made=(metadata.get("labels") or {}).get(MADE_BY) == "operator",
        routes=bool(spec.get("transformer")) or collocated,
        ready=ready.get("status") == "True" and current,
        starts=starts,
        deleting=bool(metadata.get("deletionTimestamp")),
        message=_why(conditions, status),
        document=document,
    )


def _why(conditions: dict[str, dict[str, Any]], status: dict[str, Any]) -> str:
    failed = ((status.get("modelStatus") or {}).get("lastFailureInfo") or {}).get("message")
    # What is only told for information, as `Stopped`, is not waited for.
    waiting = {name: c for name, c in conditions.items() if c.get("status") != "True" and c.get("severity") != "Info"}
    told = [f"{name}: {c.get('message') or c.get('reason') or c.get('status')}" for name, c in waiting.items()]
    # Of a log, which that is, the end has the reason.
    return str(failed)[-512:] if failed else "; ".join(told)[:512]

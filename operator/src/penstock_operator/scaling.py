"""Autoscalers of what the operator runs: as many pods as there is work in flight for.

    setting, replicas --scaling_of--> InferenceService, autoscalerClass: external --seen--> HorizontalPodAutoscaler <it>-in-flight

KServe scales by CPU, which tells nothing of a GPU, nor of a transformer that waits for its feature store. By `external` it makes
no autoscaler, takes its own away, and leaves a Deployment's replicas alone (controller 0.20, its hpa_reconciler and
deployment_reconciler). The one that is made here has the form of the chart's (templates/models/autoscaling.yaml), and another
name than KServe's, which KServe would write over.

An autoscaler follows from the InferenceService that is there: it has that one's bounds, whoever set them, and goes with it.
Without the setting there are no rights to touch one: those that are there stay, and their InferenceServices as they are, until
they go.

Invariant: one is made only once the InferenceService says that KServe makes none, and has to be gone before it says otherwise. Of
two for a Deployment Kubernetes heeds neither, and KServe sets replicas back that one has changed.
"""

from collections.abc import Iterator
from typing import Any

from penstock_operator.model_version import GROUP
from penstock_operator.policy import Policy
from penstock_operator.seen import InferenceService, Scaler, Seen
from penstock_operator.verification_job import MODEL_LABEL

CLASS = "serving.kserve.io/autoscalerClass"
EXTERNAL = "external"
MADE_BY = f"{GROUP}/made-by"
"""Label of what is made for a model as a whole, and of autoscalers: the chart's have the model's name, too."""
_METRIC = "penstock_in_flight"
_KIND = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}


def scaling_of(name: str, least: int, most: int, policy: Policy, seen: Seen | None) -> dict[str, str]:
    """Annotations of a version's InferenceService with so many pods. `seen`: what is there now; None for one that is made."""
    there = seen.services.get(name) if seen is not None else None
    if most > least:
        return scaled_by(policy.predictor_in_flight, there)
    # KServe sets the replicas of the others: beside an autoscaler of ours there would be two who do.
    if seen is not None and there is not None and _class_of(there) == EXTERNAL and _may_have_scaler(name, seen, policy):
        return {CLASS: EXTERNAL}
    # Without it KServe starts with one pod, calls that ready, and leaves the others to an autoscaler that looks every 15 s.
    return {CLASS: "none"}


def scaled_by(in_flight: int, there: InferenceService | None) -> dict[str, str]:
    """Annotations of one whose pods are meant to have so much in flight (0: KServe's to scale). `there`: as it is now."""
    return {CLASS: EXTERNAL} if in_flight > 0 or (there is not None and _class_of(there) == EXTERNAL) else {}


def scaler_name(service: str) -> str:
    """The autoscaler of an InferenceService."""
    return f"{service}-in-flight"


def wanted_scalers(seen: Seen, policy: Policy) -> list[dict[str, Any]]:
    """The autoscalers that there are to be."""
    return [
        _scaler(service, in_flight, seen, policy)
        for service, in_flight in _ours(seen, policy)
        if in_flight > 0 and _class_of(service) == EXTERNAL and not _is_fixed(service)
    ]


def needless_scalers(seen: Seen, policy: Policy) -> list[Scaler]:
    """Those of InferenceServices that are not scaled any more. Of one that is gone it goes by itself."""
    over = {
        scaler_name(service.name) for service, _ in _ours(seen, policy) if _class_of(service) != EXTERNAL or _is_fixed(service)
    }
    return [one for name, one in seen.scalers.items() if name in over and not one.deleting]


def is_left(service: InferenceService, in_flight: int) -> bool:
    """Whether an InferenceService may wait for an autoscaler that nobody makes: the setting was switched off, and whether there
    was time to make one cannot be seen. Made anew, as long as it gets no requests, it is KServe's; what it had goes with it."""
    return in_flight <= 0 and _class_of(service) == EXTERNAL


def read_scaler(document: dict[str, Any]) -> Scaler | None:
    """What a HorizontalPodAutoscaler says; None for one that somebody else has made."""
    metadata = document["metadata"]
    if (metadata.get("labels") or {}).get(MADE_BY) != "operator":
        return None
    return Scaler(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        deleting=bool(metadata.get("deletionTimestamp")),
        # In a list it does not say what it is.
        document={**_KIND, **document},
    )


def _ours(seen: Seen, policy: Policy) -> Iterator[tuple[InferenceService, int]]:
    """The InferenceServices that the operator has made, and what a pod of each is meant to have in flight."""
    for service in seen.services.values():
        if service.owner and not service.deleting:
            yield service, policy.predictor_in_flight
    if seen.service is not None and seen.service.made and not seen.service.deleting:
        yield seen.service, policy.transformer_in_flight


def _may_have_scaler(name: str, seen: Seen, policy: Policy) -> bool:
    return scaler_name(name) in seen.scalers or not policy.scales


def _is_fixed(service: InferenceService) -> bool:
    """Whether it is a version's with nothing to scale."""
    predictor = (service.document.get("spec") or {}).get("predictor") or {}
    return bool(service.owner) and (predictor.get("maxReplicas") or 0) <= (predictor.get("minReplicas") or 1)


def _class_of(service: InferenceService) -> str:
    return str(((service.document.get("metadata") or {}).get("annotations") or {}).get(CLASS, ""))


def _scaler(service: InferenceService, in_flight: int, seen: Seen, policy: Policy) -> dict[str, Any]:
    predictor = (service.document.get("spec") or {}).get("predictor") or {}
    least = predictor.get("minReplicas") or 1
    owner = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": service.name, "uid": service.uid}
    return {
        **_KIND,
        "metadata": {
            "name": scaler_name(service.name),
            "namespace": seen.namespace,
            "labels": {MADE_BY: "operator", MODEL_LABEL: seen.model},
            # No controller: KServe would look at its InferenceService each time that an autoscaler tells what it measures.
            "ownerReferences": [owner],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{service.name}-predictor"},
            "minReplicas": least,
            "maxReplicas": max(least, predictor.get("maxReplicas") or 0),
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": _METRIC},
                        "target": {"type": "AverageValue", "averageValue": str(in_flight)},
                    },
                }
            ],
            "behavior": _behavior(policy.scale_down_s),
        },
    }


def _behavior(scale_down_s: int) -> dict[str, Any]:
    """Up at once, down slowly: a pod that goes drains, and one that comes has to warm its models first."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 15},
                {"type": "Pods", "value": 4, "periodSeconds": 15},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": scale_down_s,
            "policies": [{"type": "Percent", "value": 20, "periodSeconds": 60}],
        },
    }

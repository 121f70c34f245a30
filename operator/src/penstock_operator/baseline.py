"""Fresh pods of the version before, beside a candidate's: `rollout.baseline` (docs/decisions/0022-baseline.md).

    candidate's status, roles --wanted_digest--> an InferenceService of its own --ready--> status.baseline --> an arm of the route

The candidate at 10 % has few requests and new pods, the version before 90 % and pods that are warm and full. With a baseline the
two that are compared have equally many pods, equally old, with equally many requests.

Invariant: pods come into the trial before its first step or not at all, and those that are out of it do not come back: within a
step the candidate is compared with one and the same arm.
"""

from collections.abc import Mapping
from typing import Any

from penstock_operator.cluster import INFERENCE_SERVICES
from penstock_operator.model_version import GROUP, ModelVersion
from penstock_operator.roles import Roles, is_leaving, stage_of
from penstock_operator.seen import InferenceService, Seen
from penstock_operator.stage import Stage
from penstock_operator.verification_job import ATTEMPT

ARM = "baseline"
"""What the route, evidence and labels call it."""
WITHOUT = "none"
"""In place of a digest in status.baseline: this trial goes without."""
MOST = 25
"""The largest step, in per cent of requests, that has a baseline. Both arms then have half of the requests at most: the pods that
a roll-back goes to stay busy. In larger steps both versions have large batches and many pods anyway."""
BUNDLE = f"{GROUP}/bundle"
"""Annotation of its InferenceService: the digest that its pods hold."""


def baseline_name(version: ModelVersion) -> str:
    """The InferenceService of a candidate's baseline: with `-predictor` behind it still a DNS label."""
    return f"{version.predictor}-base"


def is_asked(version: ModelVersion) -> bool:
    """Whether the version is to have a baseline: only evidence compares."""
    return version.spec.rollout.baseline and version.spec.rollout.strategy == "evidence"


def has_step(version: ModelVersion) -> bool:
    """Whether the version stands at a step that has a baseline, or before such a one."""
    stage = stage_of(version)
    if stage is Stage.CANARY:
        return version.status.weight <= MOST
    return stage in (Stage.JOINING, Stage.SHADOW) and min(version.spec.rollout.steps, default=100) <= MOST


def is_compared(version: ModelVersion) -> bool:
    """Whether the version's requests are compared with those of its baseline."""
    return stage_of(version) is Stage.CANARY and has_step(version) and version.status.baseline not in ("", WITHOUT)


def before_it(seen: Seen, base: ModelVersion | None) -> str:
    """The digest of the version before: the base's, or that which most pods of the user's own predictor hold, where there are two
    while its Deployment rolls."""
    return base.spec.bundle.digest if base is not None else max(seen.held, key=lambda held: held[1], default=("", 0))[0]


def wanted_digest(version: ModelVersion, seen: Seen, roles: Roles) -> str:
    """What the baseline's pods are to hold, "" where there are to be none."""
    if version is not roles.candidate or is_leaving(version) or roles.urgent or roles.held:
        return ""
    if not is_asked(version) or not has_step(version) or version.status.baseline == WITHOUT:
        return ""
    if stage_of(version) is Stage.CANARY and not version.status.baseline:
        return ""
    digest = before_it(seen, roles.base)
    if not digest or digest == version.spec.bundle.digest or (roles.base is None and own_predictor(seen) is None):
        return ""
    return digest


def own_predictor(seen: Seen) -> Mapping[str, Any] | None:
    """The predictor of the user's own InferenceService; None where more of it cannot be had: there is none, or it shares its pods
    with transformers."""
    if seen.service is None or seen.service.made or seen.collocated:
        return None
    predictor = (seen.service.document.get("spec") or {}).get("predictor")
    return predictor if isinstance(predictor, Mapping) and predictor else None


def in_route(version: ModelVersion, seen: Seen, roles: Roles) -> bool:
    """Whether the route is to have the baseline: its pods were ready, and are still there until the first step is taken. From
    then on whatever becomes of them or of the route's text: one that came back would be another arm."""
    digest = wanted_digest(version, seen, roles)
    if not digest or version.status.baseline != digest:
        return False
    return stage_of(version) is Stage.CANARY or not missing(version, digest, seen)


def missing(version: ModelVersion, digest: str, seen: Seen) -> str:
    """What the baseline lacks of the pods that it needs, "" for nothing."""
    service, least = seen.services.get(baseline_name(version)), version.spec.runtime.replicas.min
    if service is None:
        why_not = seen.why_not(INFERENCE_SERVICES, baseline_name(version))
        return f"its InferenceService is not taken: {why_not}" if why_not else "its InferenceService is being made"
    if service.owner != version.uid:
        return f"InferenceService {service.name} is there and is not this version's"
    if service.deleting or not is_current(version, digest, service):
        return f"InferenceService {service.name} of an earlier trial is going"
    if not service.ready:
        return service.message or "no pod is ready"
    return f"{service.pods} of {least} pods are ready" if service.pods < least else ""


def is_current(version: ModelVersion, digest: str, service: InferenceService) -> bool:
    """Whether an InferenceService was made for this very trial."""
    noted = annotations_of(service)
    return noted.get(BUNDLE) == digest and noted.get(ATTEMPT) == str(version.status.attempt)


def annotations_of(service: InferenceService) -> Mapping[str, str]:
    """What an InferenceService is annotated with; nothing of one that has no annotations."""
    return (service.document.get("metadata") or {}).get("annotations") or {}

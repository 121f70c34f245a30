"""Events: what `kubectl describe mv` tells of a version's life, and `kubectl get events` of pods that were evicted.

A change of phase or weight is one, and so is a reason why a version cannot go on before somebody does something about it, and
answers that are far from those of training.

An event's name follows from what it tells and from the state that it was decided on, so that an operator that dies after writing
one does not tell it twice.
"""

import hashlib

from penstock_operator.clock import write_moment
from penstock_operator.cluster import EVENTS
from penstock_operator.model_version import API_VERSION, KIND, ModelVersion, Status
from penstock_operator.plan import Operation, Verb
from penstock_operator.seen import Pod
from penstock_operator.stage import Stage

_BAD = frozenset({"Failed", "RolledBack"})
_STUCK = frozenset({
    "NoTransformer", "InferenceServiceMissing", "NameTaken", "OwnBundleUnknown", "PredictorMissing", "RouteRefused",
    "TransformersSilent", "PromotionUnreadable", "NothingToRollBackTo", "JobRefused", "PredictorRefused", "TransformerRefused",
})  # fmt: skip
_US = "penstock-operator"


def version_event(version: ModelVersion, status: Status, now: float) -> Operation | None:
    """The event of what is new in a version's next status; None if that is nothing to tell."""
    before = version.status
    moved = (before.phase, before.weight, before.stage) != (status.phase, status.weight, status.stage)
    stuck = _is_stuck(before, status)
    if not moved and (status.reason == before.reason or not stuck):
        return None
    told = f"{before.phase}/{before.stage_since}/{status.phase}/{status.weight}/{status.stage}/{status.reason}"
    if "Paused" in (before.phase, status.phase):
        # These alone come again within a stage.
        told += f"/{version.resource_version}"
    bad = status.phase in _BAD or stuck
    return _event(_about(version), told, status.reason or status.phase, _text(before, status), now, bad=bad)


def drift_event(version: ModelVersion, status: Status, now: float) -> Operation | None:
    """The event of a version whose answers turn out far from those of its training; nothing is done about it."""
    drifted = status.condition("Drifted")
    if drifted is None or drifted.status != "True" or version.status.holds("Drifted"):
        return None
    return _event(_about(version), f"Drifted/{version.resource_version}", drifted.reason, drifted.message, now, bad=True)


def eviction_event(namespace: str, pod: Pod, now: float) -> Operation:
    """The event of a transformer's pod that is evicted since it is silent."""
    about = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "namespace": namespace, "uid": pod.uid}
    text = f"to be evicted: for {pod.silent_s:.0f} s it has not said which route it applies, or has heard of none"
    return _event(about, "silent", "TransformerSilent", text, now, bad=True)


def _about(version: ModelVersion) -> dict[str, str]:
    metadata = {"apiVersion": API_VERSION, "kind": KIND, "name": version.name, "namespace": version.namespace}
    return metadata | {"uid": version.uid, "resourceVersion": version.resource_version}


def _is_stuck(before: Status, status: Status) -> bool:
    """Whether it waits for somebody. A transformer that has never run yet is being started, unless nobody has asked for one."""
    if status.reason == "NoTransformer" and status.stage != Stage.PENDING:
        return before.holds("Acknowledged")
    return status.reason in _STUCK


def _text(before: Status, status: Status) -> str:
    """`Shadow -> Canary at 5 %: why`, without what was said before or is said by the reason alone."""
    message = status.message if status.message != before.message or before.phase != status.phase else ""
    phases = status.phase if status.phase == before.phase else f"{before.phase} -> {status.phase}"
    share = f"{status.weight} %"
    step = f" at {share}" if status.weight not in (0, 100) and share not in message else ""
    return f"{phases}{step}: {message}" if message else f"{phases}{step}"


def _event(about: dict[str, str], told: str, reason: str, text: str, now: float, *, bad: bool) -> Operation:
    digest = hashlib.sha256(f"{about['uid']}/{told}".encode()).hexdigest()
    name = f"{about['name']}.{digest[:16]}"
    moment = write_moment(now).split(".")[0] + "Z"
    document = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": about["namespace"]},
        "involvedObject": about,
        "reason": reason,
        "message": text[:1024],
        "type": "Warning" if bad else "Normal",
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
        "source": {"component": _US},
        "reportingComponent": _US,
        "reportingInstance": _US,
    }
    return Operation(Verb.EVENT, EVENTS, about["namespace"], name, document)

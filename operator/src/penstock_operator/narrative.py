"""Events: what `kubectl describe mv` tells of a version's life, one for every change of phase.

An event's name follows from what it tells, so that an operator that dies after writing one does not tell it twice.
"""

import hashlib

from penstock_operator.cluster import EVENTS
from penstock_operator.model_version import API_VERSION, KIND, ModelVersion, Status
from penstock_operator.plan import Operation, Verb

_BAD = frozenset({"Failed", "RolledBack", "Paused"})


def phase_event(version: ModelVersion, status: Status) -> Operation | None:
    """The event of a change of phase, or of weight; None if neither changed."""
    before = version.status
    if (before.phase, before.weight, before.stage) == (status.phase, status.weight, status.stage):
        return None
    told = f"{version.uid}/{before.phase}/{before.stage_since}/{status.phase}/{status.weight}/{status.stage}/{status.reason}"
    name = f"{version.name}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    step = f" at {status.weight} %" if status.weight not in (0, 100) else ""
    text = f"{before.phase} -> {status.phase}{step}: {status.message or status.reason}"
    document = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": version.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": version.name,
            "namespace": version.namespace,
            "uid": version.uid,
            "resourceVersion": version.resource_version,
        },
        "reason": status.reason or status.phase,
        "message": text[:1024],
        "type": "Warning" if status.phase in _BAD else "Normal",
        "firstTimestamp": status.stage_since.split(".")[0] + "Z",
        "lastTimestamp": status.stage_since.split(".")[0] + "Z",
        "count": 1,
        "source": {"component": "penstock-operator"},
        "reportingComponent": "penstock-operator",
        "reportingInstance": "penstock-operator",
    }
    return Operation(Verb.EVENT, EVENTS, version.namespace, name, document)

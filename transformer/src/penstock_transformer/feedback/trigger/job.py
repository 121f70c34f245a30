"""The Job that retrains, made of the user's template: pure.

    template + Retraining --job_of--> Job with the retraining's name, labels, and variables in every container

Nothing of the template is rewritten: each container gets variables, and Kubernetes itself puts them in the place of
`$(PENSTOCK_RETRAIN_SINCE)` in its command and arguments. So no text of ours is ever part of a YAML document.

    PENSTOCK_RETRAIN_ID, _MODEL, _BUNDLE (name@digest), _DIGEST, _VERSION, _SINCE, _UNTIL (RFC 3339), _LOG, _EVENT (all, JSON)

Invariant: the same retraining is the same Job by name, so making it twice makes one.
"""

import copy
import hashlib
from typing import Any

import orjson

from penstock_transformer.feedback.trigger.bounds import JobTemplate, Watch
from penstock_transformer.feedback.trigger.event import event_of
from penstock_transformer.feedback.trigger.machine import Progress, Retraining

LABEL = "penstock.dev/retrain"
EVENT = "penstock.dev/retraining"
_VARIABLE = "PENSTOCK_RETRAIN_"
_LABEL_CHARACTERS = 63


def label_of(model: str) -> str:
    """A model's name as a label's value: itself if it may be one, else a digest of it."""
    plain = model.replace("-", "").replace("_", "").replace(".", "")
    usable = plain.isascii() and plain.isalnum() and model[0].isalnum() and model[-1].isalnum()
    return model if usable and len(model) <= _LABEL_CHARACTERS else hashlib.sha256(model.encode()).hexdigest()[:32]


def job_of(watch: Watch, template: JobTemplate, one: Retraining, namespace: str) -> dict[str, Any]:
    """The Job, whole."""
    job = copy.deepcopy(template.document)
    metadata = job.setdefault("metadata", {})
    metadata.pop("generateName", None)
    metadata |= {"name": one.id, "namespace": namespace}
    event = orjson.dumps(event_of(watch, one)).decode()
    metadata["labels"] = (metadata.get("labels") or {}) | {LABEL: label_of(one.model)}
    metadata["annotations"] = (metadata.get("annotations") or {}) | {EVENT: event}
    pod = job["spec"]["template"]
    pod_metadata = pod.setdefault("metadata", {})
    pod_metadata["labels"] = (pod_metadata.get("labels") or {}) | {LABEL: label_of(one.model)}
    told = {
        "ID": one.id,
        "MODEL": one.model,
        "BUNDLE": one.label,
        "DIGEST": one.bundle,
        "VERSION": one.version or "",
        "SINCE": one.window.document()["since"],
        "UNTIL": one.window.document()["until"],
        "LOG": watch.log,
        "EVENT": event,
    }
    variables = [{"name": f"{_VARIABLE}{name}", "value": literal(value)} for name, value in told.items()]
    for kind in ("initContainers", "containers"):
        for container in pod["spec"].get(kind) or []:
            # Kubernetes knows only variables that stand before those that use them.
            container["env"] = variables + list(container.get("env") or [])
    return job


def literal(text: str) -> str:
    """A variable's value that Kubernetes leaves as it is: `$$` is its `$`."""
    return text.replace("$", "$$")


def progress_of(job: dict[str, Any]) -> Progress:
    """What a Job says of itself."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            return "succeeded" if condition["type"] == "Complete" else "failed"
    return "removed" if (job.get("metadata") or {}).get("deletionTimestamp") else "running"

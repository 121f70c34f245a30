"""The Job that verifies a version, and what one that was seen says.

    Job <version>-verify: the predictor's image, `penstock-predictor verify PLACE --digest … --report /dev/termination-log`

It has the resources of the predictor's pods, so that a bundle that does not fit is found out here and not under load, and runs
where they may: a GPU's node may be tainted. It gets the bundle as they do: a claim is mounted; an image's files are copied by a
container of that image; everything else is fetched by KServe's own webhook, with the service account's credentials, because the
pod is labelled as an InferenceService's.
"""

import json
from typing import Any
from urllib.parse import urlsplit

from penstock_operator.model_version import API_VERSION, GROUP, KIND, ModelVersion
from penstock_operator.policy import Policy
from penstock_operator.runtime_pod import RuntimePod
from penstock_operator.seen import Job

ATTEMPT = f"{GROUP}/attempt"
VERSION_LABEL = f"{GROUP}/model-version"
MODEL_LABEL = f"{GROUP}/model"
CONTAINER = "kserve-container"
_PLACE = "/mnt/models"
_REPORT = "/dev/termination-log"


def owner_reference(version: ModelVersion) -> dict[str, Any]:
    """What makes the API server delete an object with its version."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": version.name,
        "uid": version.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def on_gpu(version: ModelVersion) -> bool:
    """Whether the version's pods run on a GPU: as its device says, or because its resources have one."""
    if version.spec.runtime.device in ("cuda", "tensorrt"):
        return True
    limits = (version.spec.runtime.resources or {}).get("limits") or {}
    return version.spec.runtime.device == "auto" and "nvidia.com/gpu" in limits


def pull_secrets(policy: Policy) -> dict[str, Any]:
    """What a pod's spec says of the registry's secrets; nothing without any."""
    return {"imagePullSecrets": [{"name": name} for name in policy.image_pull_secrets]} if policy.image_pull_secrets else {}


def _runtime_pod(version: ModelVersion, policy: Policy) -> RuntimePod:
    return policy.predictor_gpu_pod if on_gpu(version) else policy.predictor_pod


def verification_job(version: ModelVersion, policy: Policy) -> dict[str, Any]:
    """The Job. `activeDeadlineSeconds` is not set: maxDuration is the operator's to watch."""
    labels = {MODEL_LABEL: version.spec.inference_service, VERSION_LABEL: version.name}
    metadata = {
        "name": version.job,
        "namespace": version.namespace,
        "labels": labels,
        "annotations": {ATTEMPT: str(version.status.verify_attempts)},
        "ownerReferences": [owner_reference(version)],
    }
    spec = {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": 3600,
        # A drained node is no verdict: the job's controller starts another pod, and does not count it.
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "template": _pod(version, policy, labels),
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _pod(version: ModelVersion, policy: Policy, labels: dict[str, str]) -> dict[str, Any]:
    uri = urlsplit(version.spec.bundle.uri)
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]
    pod: dict[str, Any] = {}
    annotations: dict[str, str] = {"sidecar.istio.io/inject": "false"}
    if uri.scheme == "pvc":
        volumes.append({"name": "bundle", "persistentVolumeClaim": {"claimName": uri.netloc, "readOnly": True}})
        path = uri.path.strip("/")
        mount: dict[str, Any] = {"name": "bundle", "mountPath": _PLACE, "readOnly": True}
        mounts.append(mount | ({"subPath": path} if path else {}))
    elif uri.scheme == "oci":
        volumes.append({"name": "bundle", "emptyDir": {}})
        mounts.append({"name": "bundle", "mountPath": _PLACE, "readOnly": True})
        pod["initContainers"] = [_copier(version, policy)]
    else:
        labels = labels | {"serving.kserve.io/inferenceservice": version.predictor}
        annotations["internal.serving.kserve.io/storage-initializer-sourceuri"] = version.spec.bundle.uri
    if version.spec.runtime.service_account_name:
        pod["serviceAccountName"] = version.spec.runtime.service_account_name
    pod |= {
        **_runtime_pod(version, policy).placement(),
        **pull_secrets(policy),
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(version, policy, mounts)],
        "volumes": volumes,
    }
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}


def _container(version: ModelVersion, policy: Policy, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    name = version.predictor
    return {
        "name": CONTAINER,
        "image": policy.predictor_gpu_image if on_gpu(version) else policy.predictor_image,
        "imagePullPolicy": policy.image_pull_policy,
        "args": ["verify", _PLACE, f"--digest={version.spec.bundle.digest}", f"--model_name={name}", f"--report={_REPORT}"],
        "terminationMessagePath": _REPORT,
        "terminationMessagePolicy": "File",
        "resources": _runtime_pod(version, policy).resources_with(version.spec.runtime.resources),
        "volumeMounts": mounts,
        "securityContext": _SECURITY,
    }


def _copier(version: ModelVersion, policy: Policy) -> dict[str, Any]:
    """A container of the bundle's own image, which has a shell and /models as KServe's modelcars do."""
    return {
        "name": "bundle",
        "image": version.spec.bundle.uri.removeprefix("oci://"),
        "imagePullPolicy": policy.image_pull_policy,
        "command": ["sh", "-c", "cp -R /models/. /mnt/models/"],
        "volumeMounts": [{"name": "bundle", "mountPath": _PLACE}],
        "resources": {"limits": {"memory": "256Mi"}},
        "securityContext": _SECURITY,
    }


_SECURITY = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def read_job(document: dict[str, Any], pods: list[dict[str, Any]]) -> Job:
    """What a Job and its pods say."""
    metadata, status = document["metadata"], document.get("status") or {}
    owners = metadata.get("ownerReferences") or []
    ends = [c for c in status.get("conditions") or [] if c.get("type") in ("Complete", "Failed") and c.get("status") == "True"]
    attempt = str((metadata.get("annotations") or {}).get(ATTEMPT, "0"))
    states = [state for pod in pods for state in _states(pod)]
    terminated = [state["terminated"] for state in states if state.get("terminated")]
    report = next((found for found in map(_report, terminated) if found is not None), None)
    killed = report is None and any(state.get("reason") == "OOMKilled" for state in terminated)
    waiting: dict[str, Any] = next((state["waiting"] for state in states if state.get("waiting")), {})
    return Job(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        owner=next((owner.get("uid", "") for owner in owners if owner.get("kind") == KIND), ""),
        attempt=int(attempt) if attempt.isdecimal() else 0,
        # A verdict counts at once: the job's controller may take seconds longer to say that it has ended.
        ended=bool(ends) or killed or report is not None,
        deleting=bool(metadata.get("deletionTimestamp")),
        killed_for_memory=killed,
        report=report,
        message=_why(waiting, pods) or _unfetched(pods),
        has_pod=bool(pods),
        made=metadata.get("creationTimestamp") or "",
        over=next((c.get("lastTransitionTime") or metadata.get("creationTimestamp") or "" for c in ends), ""),
    )


def _states(pod: dict[str, Any]) -> list[dict[str, Any]]:
    status = pod.get("status") or {}
    found = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return [one.get("state") or {} for one in found]


def _report(terminated: dict[str, Any]) -> dict[str, Any] | None:
    try:
        found = json.loads(terminated.get("message") or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("ok"), bool) else None


def _why(waiting: dict[str, Any], pods: list[dict[str, Any]]) -> str:
    """Why its pod does not run yet, if it does not."""
    if waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
        return f"{waiting['reason']}: {waiting.get('message', '')}"[:512]
    for pod in pods:
        for condition in (pod.get("status") or {}).get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return str(condition.get("message", ""))[:512]
    return ""


def _unfetched(pods: list[dict[str, Any]]) -> str:
    """What a container that was to fetch the bundle said when it ended in vain: the end of its log, where the reason is."""
    for pod in pods:
        for one in (pod.get("status") or {}).get("initContainerStatuses") or []:
            ended = (one.get("state") or {}).get("terminated") or {}
            if ended.get("exitCode"):
                said = str(ended.get("message") or ended.get("reason") or "").strip()
                return f"{one.get('name', '')}: {_end_of(said)}"
    return ""


def _end_of(log: str) -> str:
    """Its last lines, whole ones if more than one fits."""
    cut = log[-400:]
    return cut.partition("\n")[2] or cut if len(log) > len(cut) else cut

"""Manifests of the single pods that stand beside what is tested: nobody's, without a writable root, gone within a second."""

from typing import Any

_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


def pod(name: str, container: dict[str, Any], volumes: list[dict[str, Any]]) -> dict[str, Any]:
    """A pod of one container, labelled `app: NAME`."""
    whole = {"name": name, "imagePullPolicy": "IfNotPresent", "securityContext": _SECURITY, **container}
    spec = {"containers": [whole], "volumes": volumes, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def service(name: str, port: int) -> dict[str, Any]:
    """Its Service."""
    spec = {"selector": {"app": name}, "ports": [{"port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}

"""KServe in a cluster: its CRDs, controller and webhooks from its own charts, in Standard mode, without cert-manager and without
an ingress. A certificate of an authority made here stands where cert-manager's would.
"""

import base64
import tempfile
from pathlib import Path
from typing import Any

import yaml
from bed.authority import Authority
from bed.builder import kserve_module
from bed.cluster import Cluster
from bed.images import CONTROLLER, STORAGE, build

NAMESPACE = "kserve"
_SERVICE = "kserve-webhook-server-service.kserve.svc"
_OPTIONS = {
    "kserve.controller.deploymentMode": "Standard",
    "kserve.controller.image": CONTROLLER.rpartition(":")[0],
    "kserve.controller.tag": CONTROLLER.rpartition(":")[2],
    "kserve.storage.image": STORAGE.rpartition(":")[0],
    "kserve.storage.tag": STORAGE.rpartition(":")[2],
    "kserve.controller.imagePullPolicy": "IfNotPresent",
    "kserve.controller.gateway.disableIngressCreation": "true",
}


def install(cluster: Cluster) -> None:
    """Install KServe and wait for its controller; nothing if it is there. Raises BedError."""
    if cluster.succeeds("--namespace", NAMESPACE, "rollout", "status", "deployment/kserve-controller-manager", "--timeout=1s"):
        return
    for tag in (CONTROLLER, STORAGE):
        cluster.load(build(tag))
    charts = kserve_module() / "charts"
    cluster.helm("upgrade", "--install", "kserve-crd", charts / "kserve-crd", "--namespace", NAMESPACE, "--create-namespace")
    options = [word for name, value in _OPTIONS.items() for word in ("--set", f"{name}={value}")]
    manifests = yaml.safe_load_all(
        cluster.helm("template", "kserve", charts / "kserve-resources", "--namespace", NAMESPACE, *options)
    )
    ready = _with_certificate([manifest for manifest in manifests if manifest])
    text = yaml.safe_dump_all(ready)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--namespace", NAMESPACE, "--filename=-", text=text)
    cluster.kubectl("--namespace", NAMESPACE, "rollout", "status", "deployment/kserve-controller-manager", "--timeout=180s")


def _with_certificate(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same without cert-manager's resources and the metrics proxy, whose image would have to be pulled."""
    with tempfile.TemporaryDirectory(prefix="penstock-kserve-") as folder:
        authority = Authority(Path(folder))
        authority.issue("webhook", "kserve-webhook", hosts=[_SERVICE, f"{_SERVICE}.cluster.local"])
        files = {name: base64.b64encode((Path(folder) / name).read_bytes()).decode() for name in _FILES}
    kept = []
    for manifest in manifests:
        if manifest["kind"] in ("Certificate", "Issuer"):
            continue
        for webhook in manifest.get("webhooks", []):
            webhook["clientConfig"]["caBundle"] = files["ca.crt"]
        if manifest["kind"] == "Deployment":
            pod = manifest["spec"]["template"]["spec"]
            pod["containers"] = [container for container in pod["containers"] if "rbac-proxy" not in container["image"]]
        kept.append(manifest)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "kserve-webhook-server-cert", "namespace": NAMESPACE},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": files["webhook.crt"], "tls.key": files["webhook.key"]},
    }
    return [secret, *kept]


_FILES = ("ca.crt", "webhook.crt", "webhook.key")

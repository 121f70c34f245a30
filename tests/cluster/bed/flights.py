"""The flights example in a cluster: a namespace with Redis, filled by Feast, and the bundle in a volume. What users would have
before they apply `manifests/inferenceservice.yaml`, which finds all of it by name.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from bed.cluster import Cluster
from bed.images import REDIS, build
from bed.places import ROOT
from bed.pods import pod, service
from bed.trouble import BedError

MODEL = "flights"
RECORD = "20131223-EV-4131-EWR"
CLAIM = "bundles"
SECRET = "flights-feature-store"
_STORE = """\
project: flights
provider: local
registry: ../../../.run/flights/registry.db
online_store:
  type: redis
  connection_string: "{}:{}"
offline_store:
  type: file
entity_key_serialization_version: 3
"""
_FILL = "import os, run; os.chdir(run.ROOT); run.DATA.mkdir(parents=True); run.fill_store(); run.build_bundle()"


@dataclass(frozen=True)
class Flights:
    """The example's place in a cluster; `bundle` is the bundle's folder on this machine."""

    cluster: Cluster
    namespace: str
    bundle: Path

    def kubectl(self, *arguments: str | Path, text: str | None = None, timeout_s: float = 300.0) -> str:
        """kubectl in the example's namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, text=text, timeout_s=timeout_s)

    def apply(self, *manifests: dict[str, Any]) -> str:
        """Apply manifests in the example's namespace."""
        return self.cluster.apply(*manifests, namespace=self.namespace)

    def put_bundle(self, folder: Path, name: str) -> None:
        """Copy a bundle into the claim, as `pvc://bundles/NAME`."""
        self.kubectl("cp", folder, f"filler:/mnt/models/{name}")


def install(cluster: Cluster, namespace: str, folder: Path, image: str) -> Flights:
    """Make it all in a namespace that is there; `image`: any with tar and Python. Raises BedError."""
    cluster.load(build(REDIS))
    cluster.volume(CLAIM, namespace)
    address = f"redis://redis.{namespace}:6379/0"
    secret = _secret(base64.b64encode(address.encode()).decode())
    cluster.apply(_redis(), service("redis", 6379), secret, _filler(image), namespace=namespace)
    cluster.kubectl("--namespace", namespace, "wait", "--for=condition=Ready", "pod/redis", "pod/filler", "--timeout=120s")
    with cluster.reach(namespace, "redis", 6379) as (host, port):
        bundle = _fill(folder, host, port)
    flights = Flights(cluster, namespace, bundle)
    flights.put_bundle(bundle, MODEL)
    return flights


def install_beside(flights: Flights, namespace: str, bundle: Path, image: str) -> Flights:
    """The same in another namespace that is there, with another bundle in its claim; the store is the first one's. Raises
    BedError."""
    cluster = flights.cluster
    cluster.volume(CLAIM, namespace)
    url = flights.kubectl("get", "secret", SECRET, "--output=jsonpath={.data.url}")
    cluster.apply(_secret(url), _filler(image), namespace=namespace)
    cluster.kubectl("--namespace", namespace, "wait", "--for=condition=Ready", "pod/filler", "--timeout=120s")
    beside = Flights(cluster, namespace, bundle)
    beside.put_bundle(bundle, MODEL)
    return beside


def inference_service(*, cpu: str = "50m") -> dict[str, Any]:
    """manifests/inferenceservice.yaml with requests that several pods on a small node leave room for, and with patience."""
    text = (ROOT / "manifests" / "inferenceservice.yaml").read_text()
    manifest: dict[str, Any] = next(part for part in yaml.safe_load_all(text) if part and part["kind"] == "InferenceService")
    predictor, transformer = manifest["spec"]["predictor"], manifest["spec"]["transformer"]
    predictor["model"]["resources"] = {"requests": {"cpu": cpu, "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    for container in transformer["containers"]:
        container["resources"]["requests"]["cpu"] = cpu
        # A machine that is busy with other things answers late, and no test here is about how fast Redis is.
        container["env"].append({"name": "PENSTOCK_TRANSFORMER_STORE_TIMEOUT_MS", "value": "10000"})
    return manifest


def digest(folder: Path) -> str:
    """A bundle's digest: that of its bundle.yaml."""
    return f"sha256:{hashlib.sha256((folder / 'bundle.yaml').read_bytes()).hexdigest()}"


def _fill(folder: Path, host: str, port: int) -> Path:
    """Run the example's own script against this Redis; the bundle's folder."""
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    example = folder / "examples" / "flights"
    (example / "feature_repo" / "feature_store.yaml").write_text(_STORE.format(host, port))
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", _FILL], cwd=example, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BedError(f"the example's store could not be filled:\n{(done.stdout + done.stderr)[-2000:]}")
    print(f"filled Redis and built the bundle in {time.monotonic() - began:.0f} s")
    return folder / ".run" / "flights" / "bundle"


def _secret(url: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": {"url": url}}


def _redis() -> dict[str, Any]:
    probe = {"tcpSocket": {"port": 6379}, "periodSeconds": 1}
    return pod("redis", {"image": REDIS, "ports": [{"containerPort": 6379}], "readinessProbe": probe}, [])


def _filler(image: str) -> dict[str, Any]:
    """A pod that holds the claim open for `kubectl cp`, and from which tests send requests inside the cluster."""
    command = ["python3", "-c", "import signal; signal.pause()"]
    mounts = [{"name": "bundles", "mountPath": "/mnt/models"}, {"name": "tmp", "mountPath": "/tmp"}]
    claim = {"name": "bundles", "persistentVolumeClaim": {"claimName": CLAIM}}
    return pod("filler", {"image": image, "command": command, "volumeMounts": mounts}, [claim, {"name": "tmp", "emptyDir": {}}])

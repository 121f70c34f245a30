"""A cluster as the tests see it: kubectl, helm, images into it, volumes in it, a way to its Services. Three kinds: our own,
kind's, and whichever KUBECONFIG names.

    cluster = chosen()          PENSTOCK_CLUSTER=own|kind|kubeconfig
    with cluster.reach("flights", "flights-transformer", 80) as (host, port): …

Invariant: nothing here touches the user's own kubeconfig or its current context, unless PENSTOCK_CLUSTER=kubeconfig says so.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from bed import engine, images, own
from bed.command import run, succeeds
from bed.places import CACHE, KUBECONFIG, PROGRAMS, RUN
from bed.trouble import BedError

CHOICE = "PENSTOCK_CLUSTER"
KINDS = ("own", "kind", "kubeconfig")
KIND_NAME = "penstock"
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up, by its kubeconfig."""

    kubeconfig: Path
    kind: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes any program talk to this cluster, with our own kubectl and helm first on the PATH."""
        return {"KUBECONFIG": str(self.kubeconfig), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}

    def kubectl(self, *arguments: str | Path, text: str | None = None, timeout_s: float = 300.0) -> str:
        """Its output. Raises BedError with its message."""
        return run(["kubectl", *arguments], text=text, environment=self.environment, timeout_s=timeout_s)

    def succeeds(self, *arguments: str | Path) -> bool:
        """Whether kubectl ends well."""
        return succeeds([_program("kubectl"), "--kubeconfig", self.kubeconfig, *arguments])

    def helm(self, *arguments: str | Path, timeout_s: float = 300.0) -> str:
        """Its output. Raises BedError with its message."""
        return run(["helm", *arguments], environment=self.environment, timeout_s=timeout_s)

    def apply(self, *manifests: Mapping[str, object], namespace: str) -> str:
        """Apply manifests that are given as values."""
        text = yaml.safe_dump_all([dict(manifest) for manifest in manifests])
        return self.kubectl("--namespace", namespace, "apply", "--filename=-", text=text)

    def load(self, tag: str) -> None:
        """An image that was built here into the cluster, so that pods need not pull it."""
        if self.kind == "own":
            own.load(tag)
        elif self.kind == "kind":
            run(["kind", "load", "image-archive", images.archive(tag), "--name", KIND_NAME])
        else:
            raise BedError(f"{tag}: the cluster of KUBECONFIG must be able to pull it; build and push it first (make images)")

    def load_as(self, tag: str, name: str) -> None:
        """An image that was loaded, under another name, too."""
        if self.kind == "own":
            own.rename(tag, name)
        else:
            engine.rename(tag, name)
            self.load(name)

    def volume(self, name: str, namespace: str) -> None:
        """A claim of 1 GiB that any pod of the namespace may mount: of the default storage class, on our own node a folder."""
        claim: dict[str, object] = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        if self.kind == "own":
            folder = RUN / "volumes" / namespace / name
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
            pinned = {"storageClassName": "", "volumeName": f"{namespace}-{name}"}
            claim["spec"] = {**claim["spec"], **pinned}  # type: ignore[dict-item]
            self.apply(_folder_volume(f"{namespace}-{name}", folder), namespace=namespace)
        self.apply(claim, namespace=namespace)

    @contextmanager
    def reach(self, namespace: str, service: str, port: int) -> Iterator[tuple[str, int]]:
        """Host and port at which this machine reaches a port of a Service: its own address on our cluster, else kubectl's
        port-forward, which holds on to one pod."""
        if self.kind == "own":
            address = self.kubectl("--namespace", namespace, "get", "service", service, "--output=jsonpath={.spec.clusterIP}")
            if address in ("", "None"):
                raise BedError(f"the Service {service} has no address of its own")
            yield address, port
            return
        command = [_program("kubectl"), "--namespace", namespace, "port-forward", f"service/{service}", f":{port}"]
        environment = {**os.environ, **self.environment}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as forward:
            try:
                assert forward.stdout is not None
                line = forward.stdout.readline()
                found = _FORWARDING.search(line)
                if found is None:
                    raise BedError(f"kubectl port-forward to {service}: {line.strip()}")
                yield "127.0.0.1", int(found[1])
            finally:
                forward.terminate()


def chosen() -> Cluster:
    """The cluster that the environment chooses. Raises BedError if there is none, or it does not answer."""
    kind = os.environ.get(CHOICE, "own")
    if kind not in KINDS:
        raise BedError(f"{CHOICE}={kind}: expected {', '.join(KINDS)}")
    if kind == "kubeconfig" and not os.environ.get("KUBECONFIG"):
        raise BedError(f"{CHOICE}=kubeconfig needs KUBECONFIG to name the cluster")
    files = {"own": KUBECONFIG, "kind": CACHE / "kind.kubeconfig", "kubeconfig": Path(os.environ.get("KUBECONFIG", ""))}
    cluster = Cluster(files[kind], kind)
    if not cluster.kubeconfig.exists():
        raise BedError({"own": "no cluster is up: make cluster-up", "kind": "no kind cluster is up: make test-kind"}.get(
            kind, f"there is no file {cluster.kubeconfig}"))  # fmt: skip
    if not cluster.succeeds("get", "--raw", "/readyz"):
        raise BedError(f"the cluster of {cluster.kubeconfig} does not answer")
    return cluster


def _program(name: str) -> str:
    """Ours if it was built, else the PATH's: a machine's own kubectl may be an old one."""
    built = PROGRAMS / name
    found = str(built) if built.exists() else shutil.which(name)
    if found is None:
        raise BedError(f"{name} is missing")
    return found


def _folder_volume(name: str, folder: Path) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "",
            "hostPath": {"path": str(folder), "type": "Directory"},
        },
    }

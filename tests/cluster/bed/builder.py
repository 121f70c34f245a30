"""Builds the cluster's programs from Go modules: Kubernetes, etcd, CoreDNS and helm out of `programs/`, KServe's controller
out of its own module, which also carries KServe's charts. The first build takes long; Go's own cache makes every later one short.

Invariant: `bin/made-from` names what the programs in `bin` were built from; it is written last, so that a build that was cut off
is never taken for a whole one.
"""

import hashlib
import json
import time
from pathlib import Path

from bed.command import run, succeeds
from bed.places import PROGRAMS
from bed.trouble import BedError

MODULES = Path(__file__).parent / "programs"
KUBERNETES = "v1.34.4"
KSERVE_VERSION = "0.20.0"
KSERVE = f"github.com/kserve/kserve@v{KSERVE_VERSION}"
_KUBERNETES_COMMANDS = ("kube-apiserver", "kubectl", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy")
# In the order of use: an API server alone is ready long before the last of them.
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    **{command: f"k8s.io/kubernetes/cmd/{command}" for command in _KUBERNETES_COMMANDS},
    "coredns": "./coredns",
    "helm": "helm.sh/helm/v3/cmd/helm",
}
MANAGER = "kserve-manager"
_GO = {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -buildvcs=false"}


def build_programs() -> None:
    """Every program into `bin`, unless they are there and made from the same modules. Raises BedError."""
    wanted = _source_digest()
    stamp = PROGRAMS / "made-from"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    _check_go()
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    for name, package in PACKAGES.items():
        _build(name, package, MODULES)
    _build(MANAGER, "./cmd/manager", kserve_module())
    stamp.write_text(wanted)


def build_api_server() -> None:
    """etcd and kube-apiserver alone, a third of the whole: what `penstock.testing.kubernetes` starts. Raises BedError."""
    stamp = PROGRAMS / "api-server-made-from"
    wanted = _source_digest()
    names = ("etcd", "kube-apiserver")
    whole = PROGRAMS / "made-from"
    if all((PROGRAMS / name).exists() for name in names) and any(
        made.exists() and made.read_text() == wanted for made in (stamp, whole)
    ):
        return
    _check_go()
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    for name in names:
        _build(name, PACKAGES[name], MODULES)
    stamp.write_text(wanted)


def kserve_module() -> Path:
    """KServe's source as Go keeps it: `charts/` are its helm charts."""
    try:
        found = json.loads(run(["go", "mod", "download", "-json", KSERVE], environment=_GO, directory=MODULES, timeout_s=1800))
    except BedError as error:
        raise BedError(f"KServe's module could not be had: {error}") from None
    return Path(found["Dir"])


def _check_go() -> None:
    if not succeeds(["go", "version"]):
        raise BedError("the cluster is built by Go, 1.24 or later, which is not here")


def _build(name: str, package: str, directory: Path) -> None:
    began = time.monotonic()
    flags = "-s -w" + "".join(
        f" -X {where}.git{what}={value}"
        for where in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for what, value in (("Version", KUBERNETES), ("Major", "1"), ("Minor", KUBERNETES.split(".")[1]))
    )
    # Tests that run meanwhile take a program that is there for a whole one.
    partial = PROGRAMS / f".{name}"
    run(["go", "build", "-ldflags", flags, "-o", partial, package], environment=_GO, directory=directory, timeout_s=3600)
    partial.rename(PROGRAMS / name)
    print(f"built {name} in {time.monotonic() - began:.0f} s", flush=True)


def _source_digest() -> str:
    digest = hashlib.sha256(f"{KUBERNETES} {KSERVE}".encode())
    for file in sorted(path for path in MODULES.rglob("*") if path.is_file()):
        digest.update(file.read_bytes())
    return digest.hexdigest()

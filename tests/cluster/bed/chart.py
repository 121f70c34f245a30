"""Our chart in a cluster, with the images that were built here."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bed.cluster import Cluster
from bed.places import CACHE, ROOT

NAMESPACE = "penstock-system"
RELEASE = "penstock"
CHART = ROOT / "charts" / "penstock"


def install(cluster: Cluster, *options: str | Path, more: str = "", keep: bool = False) -> None:
    """Install or upgrade the chart, and wait for its pods. `options` go to helm; namespaces that were admitted before stay so,
    unless they are gone; `keep`: all other values, too. Tests side by side install it one after the other: helm refuses a second
    upgrade under way."""
    place = ["--namespace", NAMESPACE, "--create-namespace"]
    with _alone():
        namespaces = sorted({*admitted(cluster), *([more] if more else [])})
        # Without it helm would go on with what an earlier test has set.
        values = ["--reuse-values" if keep else "--reset-values", f"--set-json=transformer.namespaces={json.dumps(namespaces)}"]
        cluster.helm("upgrade", "--install", RELEASE, CHART, *place, *values, "--wait", "--timeout=180s", *options)


def upgrade(cluster: Cluster, *options: str | Path) -> None:
    """Upgrade it as docs/operations.md says, the values of before kept, and wait for its pods. Raises BedError."""
    with _alone():
        how = ("--reset-then-reuse-values", "--wait", "--timeout=180s")
        cluster.helm("upgrade", RELEASE, CHART, "--namespace", NAMESPACE, *how, *options)


def roll_back(cluster: Cluster, to: int) -> None:
    """Back to a revision. Raises BedError."""
    with _alone():
        cluster.helm("rollback", RELEASE, str(to), "--namespace", NAMESPACE, "--wait", "--timeout=180s")


def revision(cluster: Cluster) -> int:
    """How often it was installed, upgraded and rolled back."""
    found = json.loads(cluster.helm("status", RELEASE, "--namespace", NAMESPACE, "--output=json"))
    return int(found["version"])


def render(cluster: Cluster, template: str, *, namespace: str = NAMESPACE, **values: Any) -> str:
    """One of the chart's templates with some values, to be applied beside the installation, which stays as it is."""
    given = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
    # It does not ask the cluster which release it is of.
    place = ["--namespace", namespace, "--kube-version=v1.30.0"]
    return cluster.helm("template", RELEASE, CHART, *place, f"--show-only={template}", *given)


@contextmanager
def running(cluster: Cluster, namespace: str, template: str, deployment: str, **values: Any) -> Iterator[None]:
    """What a template has, its Deployment among it, in a namespace of its own for a while. Raises BedError."""
    documents, place = render(cluster, template, namespace=namespace, **values), ("--namespace", namespace)
    cluster.kubectl(*place, "apply", "--filename=-", text=documents)
    try:
        cluster.kubectl(*place, "rollout", "status", f"deployment/{deployment}", "--timeout=180s", timeout_s=200)
        yield
    finally:
        cluster.kubectl(*place, "delete", "--filename=-", "--timeout=120s", text=documents)


def admit(cluster: Cluster, namespace: str) -> None:
    """Give a namespace the service account that transformers and workers run as, as an administrator would for a new team."""
    install(cluster, more=namespace, keep=True)


@contextmanager
def _alone() -> Iterator[None]:
    with (CACHE / "chart.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def admitted(cluster: Cluster) -> set[str]:
    """Namespaces that have the account and are still there; none before the first installation."""
    if f"{NAMESPACE}/{RELEASE}" not in _releases(cluster):
        return set()
    values = json.loads(cluster.helm("get", "values", RELEASE, "--namespace", NAMESPACE, "--all", "--output=json"))
    there = cluster.kubectl("get", "namespaces", "--field-selector=status.phase=Active", "--output=name").split()
    # Chart 0.1 had no such value.
    return {name for name in values.get("transformer", {}).get("namespaces", []) if f"namespace/{name}" in there}


def _releases(cluster: Cluster) -> set[str]:
    found = json.loads(cluster.helm("list", "--all", "--namespace", NAMESPACE, "--output=json"))
    return {f"{release['namespace']}/{release['name']}" for release in found}

"""A kind cluster for machines with docker: made, given KServe, and removed."""

import shutil

from bed import builder, kserve
from bed.cluster import KIND_NAME, Cluster
from bed.command import run, succeeds
from bed.places import CACHE, PROGRAMS
from bed.trouble import BedError

KUBECONFIG = CACHE / "kind.kubeconfig"


def up() -> None:
    """Make the cluster if it is not there, and install KServe. Raises BedError."""
    for program, where in (
        ("kind", "kind.sigs.k8s.io"),
        ("docker", "docs.docker.com/engine/install"),
        ("kubectl", "kubernetes.io/docs"),
    ):
        if shutil.which(program) is None and not (PROGRAMS / program).exists():
            raise BedError(f"{program} is missing: {where}")
    if not succeeds(["docker", "info"]):
        raise BedError("docker does not answer: kind makes its nodes with it")
    CACHE.mkdir(parents=True, exist_ok=True)
    if KIND_NAME not in run(["kind", "get", "clusters"]).split():
        run(["kind", "create", "cluster", "--name", KIND_NAME, "--kubeconfig", KUBECONFIG, "--wait", "180s"])
    run(["kind", "export", "kubeconfig", "--name", KIND_NAME, "--kubeconfig", KUBECONFIG])
    builder.build_programs()
    kserve.install(Cluster(KUBECONFIG, "kind"))


def down() -> None:
    """Remove it."""
    run(["kind", "delete", "cluster", "--name", KIND_NAME])
    KUBECONFIG.unlink(missing_ok=True)

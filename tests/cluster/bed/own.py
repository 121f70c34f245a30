"""Our own cluster: one node, made of real programs on this machine, up in seconds and gone without a trace.

    up():  keys, network, etcd, API server, controllers, scheduler, containerd, kubelet, proxy, DNS        down(): backwards

Invariant: `up` on a cluster that is up changes nothing; on one that is half up (a command was cut off, the machine was started
anew) it takes down what is left first. Nothing of an earlier cluster is kept but what was built.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bed import control_plane, daemons, engine, host, images, mounts, network, node, ownership
from bed.builder import build_programs
from bed.command import run, succeeds
from bed.keys import NODE_NAME, make_keys
from bed.places import CACHE, KUBECONFIG, PROGRAMS, RUN
from bed.trouble import BedError

DAEMONS: dict[str, Callable[[], list[str]]] = {
    "etcd": control_plane.etcd,
    "apiserver": control_plane.api_server,
    "controllers": control_plane.controllers,
    "scheduler": control_plane.scheduler,
    "containerd": node.containerd,
    "kubelet": node.kubelet,
    "proxy": node.proxy,
    "coredns": node.coredns,
}
"""Every daemon in the order of start. A test that stops one (`daemons.stop`) starts it again with `start`."""
UP_S = 120.0
_PROGRAMS = {"containerd": "containerd", "runc": "runc", "iptables": "iptables", "conntrack": "conntrack", "ip": "iproute2",
             "nsenter": "util-linux", "sysctl": "procps", "gcc": "gcc"}  # fmt: skip
_LOCK = CACHE / "lock"
_CTR = ["ctr", "--address", str(node.SOCKET), "--namespace", "k8s.io"]


def up() -> None:
    """Build what is missing and start the cluster. Raises BedError."""
    _check_machine()
    with _alone():
        build_programs()
        images.build(images.PAUSE)
        already = is_up()
        if already or (ownership.OWNER and remains()):
            ownership.check()
        if already:
            return
        _down()
        ownership.claim()
        host.remember()
        make_keys()
        network.make()
        node.write_configuration()
        _start_all()


def down() -> None:
    """End it and remove everything that it made, but what was built; in an owner's name (bed/ownership.py) only the owner's."""
    ownership.end_processes()
    if ownership.OWNER and not ownership.is_ours():
        return
    with _alone():
        _down()
    ownership.end_processes()


def is_up() -> bool:
    """Whether every daemon runs and the node is ready."""
    return all(daemons.alive(name) for name in DAEMONS) and _node_is_ready()


def is_busy() -> bool:
    """Whether a command makes or ends a cluster right now."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def missing_packages() -> list[str]:
    """Debian's packages that the cluster needs and that are not here."""
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    return missing if Path("/usr/lib/cni/bridge").exists() else [*missing, "containernetworking-plugins"]


def remains() -> list[str]:
    """What of a cluster is on this machine outside its folder: daemons, containers, mounts, network, cgroups; a line each."""
    running = [f"daemon {name}" for name in DAEMONS if daemons.alive(name)]
    containers = [f"process {pid}" for pid in mounts.processes()]
    mounted = [f"mount {point}" for point in mounts.mounted()]
    return [*running, *containers, *mounted, *network.left_behind(), *host.left_behind()]


def start(name: str) -> None:
    """Start one daemon by its name, if it does not run."""
    daemons.start(name, network.inside(DAEMONS[name]()))


def load(tag: str) -> None:
    """An image into containerd, unless it holds the very same."""
    note = RUN / "loaded" / tag.replace("/", "_")
    identity = engine.identify(tag)
    if note.exists() and note.read_text() == identity:
        return
    run([*_CTR, "images", "import", images.archive(tag)])
    note.parent.mkdir(exist_ok=True)
    note.write_text(identity)


def pin(tag: str) -> str:
    """The name by its digest of an image that was loaded, as a registry would have it."""
    listed = run([*_CTR, "images", "list", f"name=={tag}"])
    digest = next(word for word in listed.split() if word.startswith("sha256:"))
    name = f"{tag.rpartition(':')[0]}@{digest}"
    rename(tag, name)
    return name


def rename(tag: str, name: str) -> None:
    """An image that was loaded, under another name, too."""
    run([*_CTR, "images", "tag", "--force", tag, name])


def _start_all() -> None:
    start("etcd")
    start("apiserver")
    _await("apiserver", lambda: succeeds([PROGRAMS / "kubectl", "--kubeconfig", KUBECONFIG, "get", "--raw", "/readyz"]))
    for name in ("controllers", "scheduler", "containerd"):
        start(name)
    _await("containerd", lambda: succeeds([*_CTR, "version"]))
    load(images.PAUSE)
    for name in ("kubelet", "proxy", "coredns"):
        start(name)
    _await("kubelet", _node_is_ready)


def _await(name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + UP_S
    while not ready():
        if not daemons.alive(name) or time.monotonic() > deadline:
            raise BedError(f"{name} did not come up; its log ends with:\n{daemons.last_words(name)}")
        time.sleep(0.2)


def _node_is_ready() -> bool:
    condition = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    command = [str(PROGRAMS / "kubectl"), "--kubeconfig", str(KUBECONFIG), "get", "node", NODE_NAME, "-o", condition]
    try:
        return run(command, timeout_s=10) == "True"
    except BedError:
        return False


def _down() -> None:
    for name in ("kubelet", "proxy", "coredns"):
        daemons.stop(name)
    mounts.end_shims()
    for name in ("containerd", "scheduler", "controllers", "apiserver", "etcd"):
        daemons.stop(name)
    mounts.end_shims()
    network.remove()
    mounts.unmount_all()
    host.restore()
    if left := remains():
        raise BedError("not everything could be removed:\n" + "\n".join(left))
    shutil.rmtree(RUN, ignore_errors=True)


def _check_machine() -> None:
    """Name everything that is missing at once."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise BedError(
            "the cluster needs root on Linux; elsewhere use kind (make test-kind) or your own (PENSTOCK_CLUSTER=kubeconfig)"
        )
    if missing := missing_packages():
        raise BedError(f"missing Debian packages: {' '.join(missing)} (make cluster-up installs them as root)")


@contextmanager
def _alone() -> Iterator[None]:
    """One command at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

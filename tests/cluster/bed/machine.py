"""Whether this machine can run a cluster, asked before an hour is spent on the way to one: CI's question.

why_not() -> "" | "no network namespace or overlay mount can be made: …"

A check gives its reason, or "" where it finds none; the first reason counts. Invariant: nothing that is tried outlives the
question. Mounts and network devices are tried in namespaces of one short process, cgroups are made empty and removed.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bed import network, own
from bed.command import run
from bed.places import CACHE
from bed.trouble import BedError

# What Kubernetes, KServe, the example twice, and a load beside them were seen to hold, with room.
MEMORY_BYTES = 4 * 2**30
CONTROLLERS_V1 = ("cpu", "cpuacct", "cpuset", "memory", "pids")
CONTROLLERS_V2 = ("cpu", "cpuset", "memory", "pids")
_CGROUPS = Path("/sys/fs/cgroup")
_CGROUP = "penstock-bed-trial"
# The kubelet sets the first two for the whole machine, and does not start where it cannot read the kernel's log.
_WRITTEN, _READ = ("/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/panic"), "/dev/kmsg"
_TRIAL = """\
mkdir lower upper work merged
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged
if command -v ip >/dev/null; then ip link add trial0 type veth peer name trial1; fi
if command -v iptables >/dev/null; then iptables --table nat --list --numeric >/dev/null; fi
"""


def why_not() -> str:
    """Why no cluster can be started here and now, in one line; empty if one can."""
    try:
        reason = next(filter(None, (check() for check in CHECKS)), "")
    except (BedError, OSError) as error:
        reason = f"the machine cannot be asked: {error}"
    return " ".join(reason.split())


def no_rights() -> str:
    """Everything else needs root on Linux."""
    return "" if sys.platform == "linux" and os.geteuid() == 0 else "it needs root on Linux"


def no_place() -> str:
    """There is one cluster a machine: whoever has made one, or is about to, has it."""
    if own.is_busy():
        return "another command makes or ends a cluster on this machine"
    left = own.remains()
    shown = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
    return f"a cluster is up, or was not ended, on this machine ({shown}); make cluster-down ends it" if left else ""


def no_packages() -> str:
    """make cluster-up installs Debian's packages where it can."""
    missing = own.missing_packages()
    return f"missing packages: {' '.join(missing)}" if missing and shutil.which("apt-get") is None else ""


def no_namespaces() -> str:
    """A network namespace with a cable, and an overlay where containerd will keep its own."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="trial-", dir=CACHE) as folder:
        try:
            run(["unshare", "--net", "--mount", "sh", "-ec", _TRIAL], directory=Path(folder), timeout_s=30)
        except BedError as error:
            return f"no network namespace or overlay mount can be made: {error}"
    return ""


def no_cgroups(root: Path = _CGROUPS) -> str:
    """The kubelet makes cgroups with limits of their own, below the root that it sees."""
    second = (root / "cgroup.controllers").exists()
    wanted = CONTROLLERS_V2 if second else CONTROLLERS_V1
    have = _controllers(root) if second else {name for name in wanted if (root / name).is_dir()}
    if missing := [name for name in wanted if name not in have]:
        return f"cgroups without {', '.join(missing)}"
    for group in [root] if second else [root / name for name in wanted]:
        trial = group / _CGROUP
        try:
            trial.mkdir(exist_ok=True)
            handed_on = not second or _controllers(trial).issuperset(wanted) or _may_hand_on(root)
            trial.rmdir()
        except OSError as error:
            return f"no cgroup can be made in {group}: {error.strerror}"
        if not handed_on:
            return f"{root} is not the machine's own root and has processes, so its cgroups get no controllers"
    return ""


def _controllers(group: Path) -> set[str]:
    file = group / "cgroup.controllers"
    return set(file.read_text().split()) if file.exists() else set()


def _may_hand_on(root: Path) -> bool:
    """The real root always, any other one only while no process is in it (cgroup-v2.rst, "No Internal Process Constraint")."""
    return not (root / "cgroup.type").exists() or not (root / "cgroup.procs").read_text().strip()


def no_kernel() -> str:
    """Parameters and log."""
    missing = [name for name in _WRITTEN if not os.access(name, os.W_OK)]
    if missing:
        return f"{', '.join(missing)} cannot be written"
    return "" if os.access(_READ, os.R_OK) else f"{_READ} cannot be read"


def no_memory(file: Path = Path("/proc/meminfo")) -> str:
    """Enough of it free, or nearly so."""
    (line,) = (line for line in file.read_text().splitlines() if line.startswith("MemAvailable:"))
    free = int(line.split()[1]) * 1024
    return "" if free >= MEMORY_BYTES else f"{free / 2**30:.1f} GiB of memory are free, of {MEMORY_BYTES / 2**30:.0f}"


def no_addresses() -> str:
    """Nobody else's network in the way."""
    return network.taken() if shutil.which("ip") else ""


CHECKS: tuple[Callable[[], str], ...] = (
    no_rights, no_place, no_packages, no_namespaces, no_cgroups, no_kernel, no_memory, no_addresses
)  # fmt: skip

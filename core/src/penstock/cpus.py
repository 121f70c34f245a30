"""How many processors this container may really use, which is seldom how many the machine has.

Thread pools and worker counts are made from this number: a pool sized to the machine inside a container limited to two CPUs
spends its quota on waiting and is then throttled by the kernel for the rest of each period. Read once, at start-up.

Sources: Linux `Documentation/admin-guide/cgroup-v2.rst` (cpu.max), `Documentation/scheduler/sched-bwc.rst` (cgroup v1).
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def cpu_limit(root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc/self/cgroup")) -> int:
    """Whole CPUs this process may use: the tightest cgroup quota rounded up, at most its affinity, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for quota in _quotas(root, proc) if quota > 0]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def _quotas(root: Path, proc: Path) -> Iterator[float]:
    """Every quota that applies, in CPUs: each level of the process's own group, up to the root that it can see."""
    for controllers, group in _groups(proc):
        if not controllers:
            bases = [root, root / "unified"]
        elif "cpu" in controllers.split(","):
            bases = [root / "cpu", root / controllers]
        else:
            continue
        for base in bases:
            # In a container the group's path is that of the host, the mount shows the container's own group as its root:
            # levels that do not exist here are skipped, the root always counts.
            levels = [base]
            for part in Path(group.lstrip("/")).parts:
                levels.append(levels[-1] / part)
            yield from (quota for level in levels if (quota := _quota(level)) is not None)


def _groups(proc: Path) -> Iterator[tuple[str, str]]:
    """(controllers, path) of each hierarchy in /proc/self/cgroup; controllers is empty for v2."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        lines = []
    yield from (tuple(line.split(":", 2)[1:]) for line in lines if line.count(":") >= 2)  # type: ignore[misc]
    if not lines:
        yield ("", "/")


def _quota(level: Path) -> float | None:
    """CPUs that one group grants, None for no limit or no such group."""
    try:
        if (level / "cpu.max").exists():
            quota, _, period = (level / "cpu.max").read_text().partition(" ")
            return None if quota == "max" else int(quota) / int(period or 100_000)
        quota_us = int((level / "cpu.cfs_quota_us").read_text())
        return None if quota_us <= 0 else quota_us / int((level / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return None

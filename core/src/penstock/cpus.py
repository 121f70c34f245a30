"""How many processors this container may really use, which is seldom how many the machine has.

Thread pools and worker counts are made from this number: a pool sized to the machine inside a container limited to two CPUs
spends its quota on waiting and is then throttled by the kernel for the rest of each period. Read once, at start-up.

Sources: Linux `Documentation/admin-guide/cgroup-v2.rst` (cpu.max), `Documentation/scheduler/sched-bwc.rst` (cgroup v1).
"""

import math
import os
from pathlib import Path

from penstock.cgroups import PROC, ROOT, levels


def cpu_limit(root: Path = ROOT, proc: Path = PROC) -> int:
    """Whole CPUs this process may use: the tightest cgroup quota rounded up, at most its affinity, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for level in levels("cpu", root, proc) if (quota := _quota(level)) is not None and quota > 0]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


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

"""How much memory this container may use: what a program tells Prometheus beside what it uses.

Sources: Linux `Documentation/admin-guide/cgroup-v2.rst` (memory.max), `Documentation/admin-guide/cgroup-v1/memory.rst`.
"""

import os
from pathlib import Path

from penstock.cgroups import PROC, ROOT, levels

# What cgroup v1 says where there is no limit: the largest multiple of the page size in 63 bits.
_NONE = 2**62


def memory_limit_bytes(root: Path = ROOT, proc: Path = PROC) -> int | None:
    """The tightest limit of this process's cgroups, None where there is none."""
    limits = [limit for level in levels("memory", root, proc) if (limit := _limit(level)) is not None]
    return min(limits, default=None)


def machine_bytes() -> int:
    """All of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _limit(level: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            limit = int((level / name).read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        return limit if 0 < limit < _NONE else None
    return None

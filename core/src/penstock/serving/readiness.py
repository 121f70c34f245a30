"""Why a process is not ready: one answer for the serving port, for probes of the admin port, and for a parent of several workers.

Invariant: the two ports say the same of one process, but for checks that its program keeps from probes (`Lifecycle.add_check`).
"""

from collections.abc import Iterable, Mapping

from penstock.dataplane import DataPlane
from penstock.lifecycle import Lifecycle

Reasons = dict[str, str]
"""By check; empty when the process is ready."""


def reasons_of(lifecycle: Lifecycle, plane: DataPlane, *, probe: bool = False) -> Reasons:
    """Of one process: its checks', else the data plane's. `probe`: as a probe of the admin port is told."""
    reasons = lifecycle.probed_reasons() if probe else lifecycle.reasons()
    if not reasons and not plane.ready():
        reasons = {"plane": "not ready"}
    return reasons


def merged_reasons(workers: Iterable[Mapping[str, str]], *, count: int) -> Reasons:
    """Of a program with `count` workers, of which these run: a reason of one is one of the program."""
    found: Reasons = {}
    running = 0
    for reasons in workers:
        running += 1
        for check, reason in reasons.items():
            found.setdefault(check, reason)
    if running < count:
        found["workers"] = f"{running} of {count} run"
    return found

"""What a run costs by its number of rows, measured at load; the batching policy is made from nothing else.

Time is the median of a few runs after warm-up. Memory is what the process grew by at the peak of a first run of that size, from
the kernel's high-water mark, and never less than the tensors themselves.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from penstock.errors import PenstockError
from penstock.onnx import Session
from penstock_predictor.axes import BatchRule, Sharing
from penstock_predictor.samples import Row, Samples


@dataclass(frozen=True, slots=True)
class Cost:
    """One run of `rows` rows: milliseconds, and bytes of memory beyond the loaded model."""

    rows: int
    run_ms: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class CostProfile:
    """Costs by rising number of rows; empty where no sample inputs were found."""

    costs: tuple[Cost, ...] = ()

    def best_rows(self) -> int:
        """The smallest size that does at least nine tenths of the best rows a second; 1 if nothing was measured."""
        best = max((cost.rows / cost.run_ms for cost in self.costs), default=0.0)
        return next((cost.rows for cost in self.costs if cost.rows / cost.run_ms >= 0.9 * best), 1)

    def rows_within(self, limit_ms: float) -> int:
        """The largest measured size whose run, and that of every smaller size, stays below `limit_ms`; 0 if none does."""
        within = 0
        for cost in self.costs:
            if cost.run_ms >= limit_ms:
                break
            within = cost.rows
        return within

    def as_json(self) -> list[dict[str, Any]]:
        """One object a size, for metadata and logs."""
        return [{"rows": c.rows, "ms": round(c.run_ms, 4), "memory_bytes": c.memory_bytes} for c in self.costs]


def measure(session: Session, rule: BatchRule, samples: Samples | None, max_rows: int, budget_s: float) -> CostProfile:
    """Warm up and measure every size that batching can make: powers of two up to `max_rows`, or the one size there is.

    Stops growing once a run takes so long that the rest would not fit `budget_s`.
    """
    if samples is None:
        return CostProfile()
    costs: list[Cost] = []
    until = time.monotonic() + budget_s
    for rows in sizes(rule, max_rows):
        try:
            cost = _cost(session, samples.batch(range(rows)), rows, min(budget_s / 8, until - time.monotonic()))
        except PenstockError:
            break
        costs.append(cost)
        # The next size takes two runs of twice this one, if rows cost what they cost so far.
        if time.monotonic() + 4 * cost.run_ms / 1e3 > until:
            break
    return CostProfile(tuple(costs))


def sizes(rule: BatchRule, max_rows: int) -> list[int]:
    """The batch sizes to warm up, rising."""
    match rule.sharing:
        case Sharing.ALONE:
            return [1]
        case Sharing.FIXED:
            return [rule.size]
    found = [1]
    while found[-1] < max_rows:
        found.append(min(found[-1] * 2, max_rows))
    return found


def _cost(session: Session, feeds: Row, rows: int, budget_s: float) -> Cost:
    before = _peak_reset()
    outputs = session.run(feeds)
    grown = max(0, peak_bytes() - before)
    tensors = sum(array.nbytes for array in (*feeds.values(), *outputs))
    # A run that alone takes all of the time is measured once; the first one was its warm-up.
    times: list[float] = []
    while not times or (sum(times) < budget_s and len(times) < 50):
        start = time.perf_counter()
        session.run(feeds)
        times.append(time.perf_counter() - start)
    return Cost(rows, median(times) * 1e3, max(grown, tensors))


def _peak_reset(proc: Path = Path("/proc/self")) -> int:
    """Set the kernel's high-water mark back to what is resident now, and give that, in bytes; 0 where there is no /proc."""
    try:
        (proc / "clear_refs").write_text("5")
    except OSError:
        pass
    return resident_bytes(proc)


def peak_bytes(proc: Path = Path("/proc/self")) -> int:
    """The most that has been resident since the kernel's mark was last set back; 0 where there is no /proc."""
    return _status_bytes(proc, "VmHWM:")


def resident_bytes(proc: Path = Path("/proc/self")) -> int:
    """What is resident now; 0 where there is no /proc."""
    return _status_bytes(proc, "VmRSS:")


def _status_bytes(proc: Path, name: str) -> int:
    try:
        lines = (proc / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)

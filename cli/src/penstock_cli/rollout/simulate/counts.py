"""What transformers would have counted of one arm in a while, before it is summed or written as evidence."""

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from penstock.evidence.adding import added_callers
from penstock.evidence.callers import Callers
from penstock.evidence.scales import DIFFERENCE_BINS, LATENCY_HALVES, RATIO_HALVES, latency_bounds_s

SCORE, LABEL = "scores.late", "label"
"""What a version answers, by name."""
SCORE_BINS = 20


@dataclass
class Paired:
    """Shadow and answer of the same requests: how many failed which way; of the others labels, differences, ratios of latency.

    `differences` int [42] by bin, and `ratios` int [320] by half a bin of `penstock.evidence.scales`.
    """

    requests: int = 0
    agreeing: int = 0
    differing: int = 0
    slower: int = 0
    only_shadow_failed: int = 0
    only_answer_failed: int = 0
    both_failed: int = 0
    differences: NDArray[np.int64] = field(default_factory=lambda: np.zeros(DIFFERENCE_BINS, np.int64))
    ratios: NDArray[np.int64] = field(default_factory=lambda: np.zeros(RATIO_HALVES, np.int64))

    def __add__(self, other: "Paired") -> "Paired":
        return Paired(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass
class Counts:
    """One arm: requests and failures one by one, and by route key and minute; latencies int [320], by half a bin, outputs
    int [20].

    `positives` have the second of two labels. Latencies, outputs and labels are those of a key's first request in a minute, as
    evidence has them, `all_latency` those of every request, as Prometheus has them. Outputs are of requests that did not fail,
    latencies also of those that were `late`, which are errors. `paired_keys`: of a key's first pair in a minute, or of its first
    that failed; their `requests` are keys. `callers`: who is behind the keys, where they stick to one of two versions.
    """

    requests: int = 0
    errors: int = 0
    late: int = 0
    keys: int = 0
    failed_keys: int = 0
    all_latency: NDArray[np.int64] = field(default_factory=lambda: np.zeros(LATENCY_HALVES, np.int64))
    latency: NDArray[np.int64] = field(default_factory=lambda: np.zeros(LATENCY_HALVES, np.int64))
    outputs: NDArray[np.int64] = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))
    positives: int = 0
    paired: Paired = field(default_factory=Paired)
    paired_keys: Paired = field(default_factory=Paired)
    callers: Callers | None = None

    def __iadd__(self, other: "Counts") -> "Counts":
        for one in fields(self):
            if one.name != "callers":
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        self.callers = added_callers([one for one in (self.callers, other.callers) if one is not None])
        return self

    def p99_s(self) -> float:
        """The 99th percentile of all requests, between its bin's edges as Prometheus' histogram_quantile has it; nan of none."""
        total = int(self.all_latency.sum())
        if not total:
            return float("nan")
        bins = whole_bins(self.all_latency)
        sums = np.cumsum(bins)
        place = int(np.searchsorted(sums, 0.99 * total))
        low_s, high_s = latency_bounds_s(place)
        inside = (0.99 * total - (sums[place] - bins[place])) / bins[place]
        return low_s + (high_s - low_s) * float(inside)

    def mean_output(self) -> float:
        """The mean of the outputs' bins, in [0, 1]; nan without requests."""
        total = int(self.outputs.sum())
        return float(self.outputs @ (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS / total) if total else float("nan")


def whole_bins(halves: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts by bin, int [n], of counts by half a bin, int [2 n]."""
    found: NDArray[np.int64] = halves.reshape(-1, 2).sum(axis=1)
    return found

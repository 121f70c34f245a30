"""The rival that tests ranks of two time series, as Kayenta's NetflixACAJudge does.

Canary and a fresh baseline have equal shares of requests. One value a minute of error rate, p99 and mean output is kept of
each; after every interval the judge forms the 98 % interval of the shift between the series (Mann-Whitney, normal
approximation with correction for ties, as Kayenta's MannWhitney.scala) and calls a metric High if all of it is above a quarter
of the estimated shift. 3 intervals of 1 hour, no warm-up, are the documentation's starting point (spinnaker.io, canary best
practices). One failing metric fails the run. The judge looks only when an interval is over.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock_cli.rollout.simulate.counts import Counts
from penstock_cli.rollout.simulate.policy import Decision, End
from penstock_cli.rollout.simulate.trace import Seen, Shares

_Z_98 = 2.3263478740408408
_TOLERANCE = 0.25
_ACCURACY = 1e-4
"""Of the original's root finder. Kinder than the original: a shift within it counts as none, where series of few errors, most of
them zero, have the same shift at every confidence."""
_METRICS: dict[str, tuple[Callable[[Counts], float], bool]] = {
    "errors": (lambda counts: counts.errors / counts.requests if counts.requests else float("nan"), False),
    "latency": (Counts.p99_s, False),
    "outputs": (Counts.mean_output, True),
}
"""How a minute is measured, and whether a lower value is a fault too."""


@dataclass(frozen=True)
class Horizon:
    """When the judge looks; seconds. `weight`: per cent of requests of the canary."""

    intervals: int = 3
    interval_s: float = 3600.0
    point_s: float = 60.0
    weight: int = 50
    metrics: tuple[str, ...] = ("errors", "latency")


class RankJudge:
    """The rules of one rollout."""

    def __init__(self, horizon: Horizon) -> None:
        self._horizon = horizon
        self._series: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in _METRICS}

    @property
    def look_s(self) -> float:
        return self._horizon.point_s

    def begin(self) -> Decision:
        return Decision(Shares(self._horizon.weight))

    def look(self, now_s: float, seen: Seen) -> Decision:
        for name, (measure, _) in _METRICS.items():
            for place, counts in enumerate((seen.candidate, seen.stable)):
                value = measure(counts)
                if not math.isnan(value):
                    self._series[name][place].append(value)
        if now_s % self._horizon.interval_s:
            return self.begin()
        for name in self._horizon.metrics:
            both_ways = _METRICS[name][1]
            if is_different(*self._series[name], both_ways=both_ways):
                return Decision(end=End.ROLLED_BACK, metric=name)
        return Decision(end=End.LIVE) if now_s >= self._horizon.intervals * self._horizon.interval_s else self.begin()


def is_different(canary: Sequence[float], baseline: Sequence[float], *, both_ways: bool) -> bool:
    """Whether the judge would call the canary's series High (or Low, if that counts too)."""
    x, y = without_outliers(canary), without_outliers(baseline)
    if not len(x) or not len(y) or len(np.unique(np.concatenate((x, y)))) == 1:
        return False
    low, estimate, high = (_shift(x, y, z) for z in (_Z_98, 0.0, -_Z_98))
    bound = _TOLERANCE * abs(estimate) + _ACCURACY
    return low > bound or (both_ways and high < -bound)


def without_outliers(values: Sequence[float]) -> NDArray[np.float64]:
    """Values within three interquartile ranges of the quartiles, as the judge keeps them."""
    found: NDArray[np.float64] = np.asarray(values, dtype=float)
    if not len(found):
        return found
    first, third = np.percentile(found, (25, 75))
    reach = 3 * (third - first)
    kept: NDArray[np.float64] = found[(found >= first - reach) & (found <= third + reach)]
    return kept


def _shift(x: NDArray[np.float64], y: NDArray[np.float64], z: float) -> float:
    """The shift of x against y at which the standardised rank sum is z; it falls as the shift grows."""
    low, high = float(x.min() - y.max()), float(x.max() - y.min())
    if _standardised(x - low, y) <= z:
        return low
    if _standardised(x - high, y) >= z:
        return high
    # To a thousandth of the range and beyond: the series are dozens of values.
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if _standardised(x - middle, y) > z else (low, middle)
    return (low + high) / 2


def _standardised(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    _, places, ties = np.unique(np.concatenate((x, y)), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[places]
    n, m = len(x), len(y)
    excess = ranks[:n].sum() - n * (n + 1) / 2 - n * m / 2
    variance = n * m / 12 * ((n + m + 1) - float((ties.astype(float) ** 3 - ties).sum()) / ((n + m) * (n + m - 1)))
    if variance <= 0:
        return 0.0
    return float((excess - 0.5 * np.sign(excess)) / math.sqrt(variance))

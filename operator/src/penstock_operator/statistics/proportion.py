"""One rate against a given bound: how often two versions disagree, how often one is slower, where a quantile lies.

Theorem. For Bernoulli observations the likelihood ratio of a fixed rate r1 against r0 is a martingale under r0 and, for r1 >
r0, a supermartingale under every smaller rate; the mixture over several r1 is one too (Robbins 1970; Howard et al. 2021, 3.4).
It stays valid when rates change over time, for the bound on their average so far: the log of the normaliser, log(1 + p (w -
1)), is concave in p (Lindon & Malek 2022 use the same for time-varying rates).
"""

from functools import lru_cache
from math import inf, log

from penstock_operator.statistics.betting import greatest_true, log_sum
from penstock_operator.statistics.difference import ABOVE, BELOW, Bets

_EDGE = 1e-9
"""How near to 0 and 1 a bound may come: at them there is no bet."""


def log_e_above(hits: float, units: float, rate: float) -> float:
    """log e-value against "the rate is at most `rate`". Large if it is more; `inf` from the first hit on for a rate of 0 or less,
    under which there is none."""
    if rate <= 0.0:
        return inf if hits > 0.0 else 0.0
    return _log_e(hits, units, rate, ABOVE)


def log_e_below(hits: float, units: float, rate: float) -> float:
    """log e-value against "the rate is at least `rate`". Large if it is less; `inf` for a rate of 1 or more, for there is none
    beyond it."""
    if rate >= 1.0:
        return inf if units > 0.0 else 0.0
    return _log_e(hits, units, rate, BELOW)


def lower_bound(hits: float, units: float, log_threshold: float) -> float:
    """The rate is above this with confidence 1 - exp(-log_threshold), at all looks together."""
    return greatest_true(lambda rate: log_e_above(hits, units, rate) >= log_threshold, _EDGE, 1.0 - _EDGE)


def upper_bound(hits: float, units: float, log_threshold: float) -> float:
    """The rate is below this with confidence 1 - exp(-log_threshold), at all looks together."""
    return 1.0 - greatest_true(lambda other: log_e_below(hits, units, 1.0 - other) >= log_threshold, _EDGE, 1.0 - _EDGE)


def _log_e(hits: float, units: float, rate: float, bets: Bets) -> float:
    if units <= 0.0 or not 0.0 < rate < 1.0:
        return 0.0
    misses = units - hits
    return log_sum([log_weight + hits * hit + misses * miss for log_weight, hit, miss in _logs(rate, bets)])


@lru_cache(maxsize=64)
def _logs(rate: float, bets: Bets) -> tuple[tuple[float, float, float], ...]:
    """Of each bet the logs of its weight, and of the likelihood ratios of a hit and of a miss."""
    norms = [(odds, weight, 1.0 - rate + odds * rate) for odds, weight in bets]
    return tuple((log(weight), log(odds / norm), -log(norm)) for odds, weight, norm in norms)

"""The interval of a proportion that was counted: what a simulation may claim about a rare event.

Clopper & Pearson (1934), exact: the bounds are the proportions at which what was seen, or more extreme, has the stated chance.
"""

import math
from collections.abc import Callable


def clopper_pearson(events: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided bounds (lower, upper) of a proportion of which `events` in `trials` were seen; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    lower = 0.0 if events == 0 else _bisected(lambda p: 1 - _at_most(events - 1, trials, p) < tail)
    upper = 1.0 if events == trials else _bisected(lambda p: _at_most(events, trials, p) > tail)
    return lower, upper


def _bisected(is_below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    # 50 halvings: past a double's own precision in [0, 1].
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2


def _at_most(events: int, trials: int, p: float) -> float:
    """P(X <= events) of a binomial; summed in logarithms, so that thousands of trials do not underflow."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return float(events >= trials)
    terms = [
        math.lgamma(trials + 1)
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(p)
        + (trials - k) * math.log1p(-p)
        for k in range(events + 1)
    ]
    highest = max(terms)
    return min(math.exp(highest) * math.fsum(math.exp(term - highest) for term in terms), 1.0)

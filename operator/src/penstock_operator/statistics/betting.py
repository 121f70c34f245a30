"""Mixtures of bets: what every test here is made of.

A bet that is fixed before the data gives a product of factors with expectation at most 1, one factor an observation. Its best
size depends on how large the effect is, which nobody knows: so the capital is divided over a few sizes beforehand, and the sum
of what they become is an e-process again (method of mixtures; Howard, Ramdas, McAuliffe & Sekhon 2021, "Time-uniform,
nonparametric, nonasymptotic confidence sequences"; Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by
betting"). The price is the log of the share of the size that fits best.
"""

from collections.abc import Callable, Iterable, Sequence
from math import exp, inf, log

NEVER = -inf
"""The log of 0: capital that is gone, or evidence that there cannot be."""


def log_sum(logs: Sequence[float]) -> float:
    """log of the sum of exp; -inf of nothing, inf if one of them is."""
    if len(logs) == 2:
        # Most are of two, and the greater one's exp is 1: the same floats as below for a quarter of the time.
        first, second = logs
        greatest, least = (first, second) if first >= second else (second, first)
        if NEVER < greatest < inf:
            return greatest + log(1.0 + exp(least - greatest))
    greatest = max(logs, default=NEVER)
    if greatest in (NEVER, inf):
        # Of these no difference can be taken.
        return greatest
    # A list: a generator costs as much again as the sum of these few.
    return greatest + log(sum([exp(value - greatest) for value in logs]))


def log_mean(weighted: Iterable[tuple[float, float]]) -> float:
    """log of the weighted sum of e-values, of (weight, log e-value); an e-value again if the weights sum to at most 1."""
    return log_sum([log(weight) + value for weight, value in weighted if weight > 0.0])


def log_product(terms: Iterable[tuple[float, float]]) -> float:
    """log of a product of factors, of (how many times, factor). A factor of 0 or less that occurs at all loses everything."""
    total = 0.0
    for count, factor in terms:
        if count <= 0.0:
            continue
        if factor <= 0.0:
            return NEVER
        total += count * log(factor)
    return total


def greatest_true(holds: Callable[[float], bool], low: float, high: float, steps: int = 17) -> float:
    """The greatest value up to which a falling condition holds, by bisection, rounded down to a part in 2 ** steps; `low` if it
    never does, `high` if always."""
    if not holds(low):
        return low
    if holds(high):
        return high
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low

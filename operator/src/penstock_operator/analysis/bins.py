"""The logarithmic bins that latencies and their ratios are counted in, as shifts and seconds.

Taken from `penstock.evidence.scales`, so that a change there is a change here. They are sixteenths of a doubling; eighths where
some transformer, or the operator of a while ago, knew no others: of each stage's counts one of the two, for bins cannot be split.
"""

from collections.abc import Callable, Mapping
from math import log2, sqrt
from typing import TypeVar

from penstock.evidence.scales import half_bounds_s, latency_bounds_s, ratio_half

_LOW, _HIGH = half_bounds_s(0)
FINE = round(1.0 / log2(_HIGH / _LOW))
"""Bins to a doubling."""
COARSE = FINE // 2
"""The same of transformers that do not tell halves of bins."""
_DOUBLINGS = ratio_half(1.0) // FINE
SOUGHT = 8
"""How many doublings away a bound of a ratio is looked for, either way."""

N = TypeVar("N", int, float)


def middle_s(number: int, per_doubling: int) -> float:
    """Seconds in the middle of a bin, by ratio."""
    low, high = (half_bounds_s if per_doubling == FINE else latency_bounds_s)(number)
    return sqrt(low * high)


def ratio_of(shift: int, per_doubling: int) -> float:
    """The ratio that so many bins make."""
    return float(2.0 ** (shift / per_doubling))


def even(per_doubling: int) -> int:
    """The bin of ratios whose lower edge is 1."""
    return _DOUBLINGS * per_doubling


def greatest_shift(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The greatest shift below `high` for which a falling condition holds, by bisection; `low` if for none above that."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def coarsened(counts: Mapping[int, N], per_doubling: int, wanted: int) -> Mapping[int, N]:
    """Counts in bins as wide as `wanted` of a doubling, which is no more than `per_doubling`; exact."""
    if per_doubling == wanted:
        return counts
    found: dict[int, N] = {}
    for number, count in counts.items():
        wide = number * wanted // per_doubling
        found[wide] = found.get(wide, 0) + count
    return found

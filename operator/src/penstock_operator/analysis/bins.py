"""The logarithmic bins that latencies and their ratios are counted in, as shifts and seconds.

Taken from `penstock.evidence.scales`, so that a change there is a change here.
"""

from math import log2, sqrt

from penstock.evidence.scales import latency_bounds_s, ratio_bin

_LOW, _HIGH = latency_bounds_s(0)
BINS_PER_DOUBLING = round(1.0 / log2(_HIGH / _LOW))
EVEN = ratio_bin(1.0)
"""The bin of ratios whose lower edge is 1."""


def middle_s(number: int) -> float:
    """Seconds in the middle of a bin, by ratio."""
    low, high = latency_bounds_s(number)
    return sqrt(low * high)


def ratio_of(shift: int) -> float:
    """The ratio that so many bins make."""
    return float(2.0 ** (shift / BINS_PER_DOUBLING))

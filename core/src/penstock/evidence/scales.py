"""The fixed logarithmic bins of evidence: latencies, ratios of latencies, differences of scores. Pure; no arrays.

    seconds, ratio, difference --> number of a bin, or of a half --> Counts, sparse, in the document --> bounds of the bin

Latencies and ratios are counted by eighths of a doubling. What versions are compared by is told in halves of these bins, too
(`halves`): half 2i is the lower one of bin i, by ratio, and 2i + 1 the upper.

Invariant: the bins never change with the data, so that counts of any two processes add up and a quantile of the sum is exact to
one bin, 9 % of a latency, or to half a bin, 4.4 %. `latency_half` is on the path of every request.
"""

from math import log2, log10

LATENCY_BINS = 160
"""Bin i holds [1e-4 * 2**(i/8), 1e-4 * 2**((i+1)/8)) seconds: 0.1 ms to 105 s, what is beyond them in the first and the last."""

LATENCY_HALVES = 2 * LATENCY_BINS

RATIO_BINS = 160
"""Bin i holds ratios in [2**((i-80)/8), 2**((i-79)/8)): a thousandth to a thousand."""

RATIO_HALVES = 2 * RATIO_BINS

DIFFERENCE_BINS = 42
"""Bin 0 holds differences below 1e-8, bin i those in [1e-8 * 10**((i-1)/4), 1e-8 * 10**(i/4)); the last also what is above."""

_FIRST_S = 1e-4
_LAST_HALF_S = _FIRST_S * 2.0 ** ((LATENCY_HALVES - 1) / 16)
_GREAT = 1e4
_LEAST_DIFFERENCE = 1e-8


def latency_bin(seconds: float) -> int:
    """The bin of a latency in seconds, 0 to 159."""
    return latency_half(seconds) >> 1


def latency_half(seconds: float) -> int:
    """The half of a bin that a latency in seconds lies in, 0 to 319."""
    if seconds <= _FIRST_S:
        return 0
    # Compared, not clamped by `min`, whose call costs a third of all this.
    return int(16.0 * log2(seconds * 1e4)) if seconds < _LAST_HALF_S else LATENCY_HALVES - 1


def latency_bounds_s(number: int) -> tuple[float, float]:
    """The seconds from which a bin reaches, and below which it stays."""
    return _FIRST_S * 2.0 ** (number / 8), _FIRST_S * 2.0 ** ((number + 1) / 8)


def half_bounds_s(number: int) -> tuple[float, float]:
    """The seconds from which half a bin reaches, and below which it stays."""
    return _FIRST_S * 2.0 ** (number / 16), _FIRST_S * 2.0 ** ((number + 1) / 16)


def ratio_half(ratio: float) -> int:
    """The half of a bin that a ratio above 0 lies in, such as of a shadow's latency by that of the bundle that answered, 0 to
    319; 160 is where 1.0 lies."""
    if ratio <= 0.0:
        return 0
    return min(max(int(16.0 * log2(ratio) + 160.0), 0), RATIO_HALVES - 1) if ratio < _GREAT else RATIO_HALVES - 1


def ratio_half_bounds(number: int) -> tuple[float, float]:
    """The ratio from which half a bin reaches, and below which it stays."""
    return 2.0 ** ((number - 160) / 16), 2.0 ** ((number - 159) / 16)


def difference_bin(difference: float) -> int:
    """The bin of a difference of two scores, whatever its sign; one that is not a number is as great as can be."""
    size = abs(difference)
    if size < _LEAST_DIFFERENCE:
        return 0
    if not size < _GREAT:
        return DIFFERENCE_BINS - 1
    return min(1 + max(int(4.0 * log10(size / _LEAST_DIFFERENCE)), 0), DIFFERENCE_BINS - 1)


def difference_bounds(number: int) -> tuple[float, float]:
    """The difference from which a bin reaches, and below which it stays."""
    if number == 0:
        return 0.0, _LEAST_DIFFERENCE
    return _LEAST_DIFFERENCE * 10.0 ** ((number - 1) / 4), _LEAST_DIFFERENCE * 10.0 ** (number / 4)

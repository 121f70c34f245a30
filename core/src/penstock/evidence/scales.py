"""The fixed logarithmic bins of evidence: latencies, ratios of latencies, differences of scores. Pure; no arrays.

    seconds, ratio, difference --> number of a bin --> Counts, sparse, in the document --> bounds of the bin

Invariant: the bins never change with the data, so that counts of any two processes add up and a quantile of the sum is exact to
one bin: 9 % of a latency. `latency_bin` is on the path of every request.
"""

from math import log2, log10

LATENCY_BINS = 160
"""Bin i holds [1e-4 * 2**(i/8), 1e-4 * 2**((i+1)/8)) seconds: 0.1 ms to 105 s, what is beyond them in the first and the last."""

RATIO_BINS = 160
"""Bin i holds ratios in [2**((i-80)/8), 2**((i-79)/8)): a thousandth to a thousand."""

DIFFERENCE_BINS = 42
"""Bin 0 holds differences below 1e-8, bin i those in [1e-8 * 10**((i-1)/4), 1e-8 * 10**(i/4)); the last also what is above."""

_FIRST_S = 1e-4
_LAST_S = _FIRST_S * 2.0 ** ((LATENCY_BINS - 1) / 8)
_GREAT = 1e4
_LEAST_DIFFERENCE = 1e-8


def latency_bin(seconds: float) -> int:
    """The bin of a latency in seconds, 0 to 159."""
    if seconds <= _FIRST_S:
        return 0
    # Compared, not clamped by `min`, whose call costs a third of all this.
    return int(8.0 * log2(seconds * 1e4)) if seconds < _LAST_S else LATENCY_BINS - 1


def latency_bounds_s(number: int) -> tuple[float, float]:
    """The seconds from which a bin reaches, and below which it stays."""
    return _FIRST_S * 2.0 ** (number / 8), _FIRST_S * 2.0 ** ((number + 1) / 8)


def ratio_bin(ratio: float) -> int:
    """The bin of a ratio above 0, such as a shadow's latency by that of the bundle that answered; 80 is where 1.0 lies."""
    if ratio <= 0.0:
        return 0
    return min(max(int(8.0 * log2(ratio) + 80.0), 0), RATIO_BINS - 1) if ratio < _GREAT else RATIO_BINS - 1


def ratio_bounds(number: int) -> tuple[float, float]:
    """The ratio from which a bin reaches, and below which it stays."""
    return 2.0 ** ((number - 80) / 8), 2.0 ** ((number - 79) / 8)


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

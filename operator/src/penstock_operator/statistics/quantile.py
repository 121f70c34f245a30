"""The ratio of a quantile in two arms, exact on counts in logarithmic bins: is the candidate's p99 more than 1.25 times as long?

Theorem. Let a step of one bin be a factor of 2 ** (1 / bins per doubling), so that a ratio is a shift by bins. For an edge x, the
candidate's latency is beyond ratio * x more often than the baseline's is beyond x exactly if the quantile there is longer by more
than the ratio; for one edge that is a difference of two rates (`difference`, margin 0), with all it has: outages that slow both
cancel. Which edge is the baseline's quantile is not known. So every edge is tested, together with the hypothesis that the
quantile lies right above it (`proportion`; Howard & Ramdas 2022, "Sequential estimation of quantiles", by Bernoulli bounds on
counts):

    e-value = the least, over all bins i, of
        0.9 * (comparison at the lower edge of bin i) + 0.1 * (evidence that bin i is the wrong one)

The true bin is among them and its term is an e-process, so the least of all is at most that one: no price is paid for not
knowing. A ratio that is no whole number of bins is rounded so that the claim holds for the ratio that was asked for.

Where in its bin the quantile lies is not known either. At the lower edge alone the comparison bounds it to a bin if both
distributions are smooth, and says nothing of lumps: the baseline may have many times `tail` beyond that edge. So the candidate
has to have more than `tail`, or less, beyond the ratio times the bin's **upper** edge as well (`proportion`); the comparison is
the lesser of the two e-values. Where the baseline is one lump all of it is beyond the lower edge, and more than all the candidate
cannot have, however long it takes. So the rates are compared at the upper edge, too, with a tenth of the capital: there the
baseline has no more than `tail`. Whatever the distributions are,

- one that is longer by no more than the ratio is not called longer: the baseline's quantile is below the upper edge, so the
  candidate's is below the ratio times that;
- one that is longer by the ratio and a bin is not called no longer: the baseline's is not below the lower edge.

What is longer by the ratio and less than a bin may stay undecided, by where in its bin the baseline's quantile lies.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import ceil, floor, inf, log, log2

from penstock_operator.statistics import difference, proportion
from penstock_operator.statistics.betting import NEVER, log_sum

_LOG_COMPARED, _LOG_MISPLACED, _LOG_HALF = log(0.9), log(0.1), log(0.5)
_LOG_LOWER, _LOG_UPPER = log(0.9), log(0.1)
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Sample:
    """One arm: `beyond[i]` observations in bin i or above, each counting `weight` (below 1 where they came in clusters)."""

    beyond: tuple[int, ...]
    weight: float = 1.0

    @classmethod
    def of(cls, counts: Mapping[int, int], weight: float = 1.0) -> "Sample":
        """The sample of counts by bin number, 0 or more."""
        dense = [counts.get(number, 0) for number in range(max(counts, default=-1) + 1)]
        return cls(tuple(accumulate(reversed(dense)))[::-1], weight)

    @property
    def total(self) -> float:
        return self.weight * self.beyond[0] if self.beyond else 0.0

    def above(self, edge: int) -> float:
        """How many are at or above an edge."""
        return 0.0 if edge >= len(self.beyond) else self.weight * self.beyond[max(edge, 0)]

    def bin_of(self, tail: float) -> int:
        """The bin that the quantile lies in which a share of `tail` is beyond; 0 of an empty sample."""
        # `beyond` falls: the last edge with enough beyond it.
        return max(bisect_right(self.beyond, -tail * self.total, key=lambda count: -self.weight * count) - 1, 0)


def log_e_longer(candidate: Sample, baseline: Sample, tail: float, shift: int) -> float:
    """log e-value against "the candidate's quantile (beyond which a share `tail` lies) is at most `shift` bins above the
    baseline's". Large if it is longer than that; 0 of a candidate that does not even look longer at the baseline's quantile."""
    seen = baseline.bin_of(tail)
    if all(_pair(candidate, baseline, edge, shift).difference <= 0.0 for edge in (seen, seen + 1)):
        return NEVER if candidate.total > 0.0 < baseline.total else 0.0

    def compare(edge: int) -> float:
        beyond = proportion.log_e_above(candidate.above(edge + 1 + shift), candidate.total, tail)
        more = _LOG_LOWER + difference.log_e_above(_pair(candidate, baseline, edge, shift), 0.0, tail)
        if more < beyond:
            upper = difference.log_e_above(_pair(candidate, baseline, edge + 1, shift), 0.0, tail)
            more = log_sum((more, _LOG_UPPER + upper))
        return min(more, beyond)

    return _least(baseline, tail, compare)


def log_e_no_longer(candidate: Sample, baseline: Sample, tail: float, shift: int) -> float:
    """log e-value against "it is at least `shift` bins above", where its lower edge stands for all of a bin, and against "it is
    at least `shift` and a bin above", wherever it lies in one. Large if it is no longer than that."""

    def compare(edge: int) -> float:
        return min(
            difference.log_e_below(_pair(candidate, baseline, edge, shift), 0.0, tail),
            proportion.log_e_below(candidate.above(edge + 1 + shift), candidate.total, tail),
        )

    return _least(baseline, tail, compare)


def shift_over(ratio: float, bins_per_doubling: int) -> int:
    """The least shift that is no smaller than a ratio: to establish that it is exceeded."""
    return ceil(bins_per_doubling * log2(ratio) - _ROUNDING)


def shift_within(ratio: float, bins_per_doubling: int) -> int:
    """The greatest shift that is no larger than a ratio: to establish that it is kept."""
    return floor(bins_per_doubling * log2(ratio) + _ROUNDING)


def _pair(candidate: Sample, baseline: Sample, edge: int, shift: int) -> difference.Pair:
    return difference.Pair(candidate.total, candidate.above(edge + shift), baseline.total, baseline.above(edge))


def _least(baseline: Sample, tail: float, compare: Callable[[int], float]) -> float:
    """The least e-value of all bins, outwards from where the quantile seems to be until no bin further out can be less."""
    if baseline.total <= 0.0:
        return 0.0
    least, middle = inf, baseline.bin_of(tail)
    for bins in (range(middle, len(baseline.beyond) + 1), range(middle - 1, -1, -1)):
        rising = bins.step > 0
        for number in bins:
            above, above_next = baseline.above(number), baseline.above(number + 1)
            too_far = _too_high(above, baseline.total, tail) if rising else _too_low(above_next, baseline.total, tail)
            if too_far + _LOG_HALF + _LOG_MISPLACED >= least:
                break  # what says that the quantile is not so far out only grows from here
            other = _too_low(above_next, baseline.total, tail) if rising else _too_high(above, baseline.total, tail)
            misplaced = log_sum((too_far + _LOG_HALF, other + _LOG_HALF)) + _LOG_MISPLACED
            if misplaced < least:
                least = min(least, log_sum((compare(number) + _LOG_COMPARED, misplaced)))
    return least


# Of one look: the same bins are asked for by both directions of the test, and by its bounds at every ratio.
@lru_cache(maxsize=256)
def _too_high(above: float, total: float, tail: float) -> float:
    """log e-value against the quantile being at an edge with so many above it, or over it."""
    return proportion.log_e_below(above, total, tail)


@lru_cache(maxsize=256)
def _too_low(above: float, total: float, tail: float) -> float:
    """log e-value against the quantile being below an edge with so many above it."""
    return proportion.log_e_above(above, total, tail)

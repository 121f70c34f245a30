"""The total variation distance between the outputs of two arms, on histograms with the same bins: do the answers differ by more
than `margins.outputDrift`?

The distance is the largest difference of probability over all sets of bins: 0.15 means that some set of answers is 15 points more
frequent in one arm. For one set that is a difference of two rates (`difference`, with the centre 1/2), so outages and the hour of
the day, which change both arms' traffic, cancel.

Farther than the margin: any set that establishes it is enough; the capital is divided beforehand over the sets that faults move,
the bins up to and from each edge (shifted scores) and each bin against the rest (a label that gains or vanishes).
Nearer than the margin: no set may differ by more, all 2^K of them, and none needs a share of alpha: if the distance is larger,
there is one such set, and its own e-process is the bound (an intersection-union test). Under a fixed bet the log e-value of a set
is a sum over its bins, so that the least of all sets is found exactly by leaving out every bin that would add to it: what is left
are the bins in which the baseline is rarest beside the candidate. Multinomial tests that spread over the simplex (Lindon & Malek
2022) pay (K - 1) / 2 log n for the same; this pays the chance that the least favourable set looks different by chance, about
K / 2 in logs.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import inf, log, sqrt

from penstock_operator.statistics.betting import NEVER, greatest_true, log_mean, log_sum
from penstock_operator.statistics.difference import BELOW, Pair, bet_logs, log_e_above
from penstock_operator.statistics.proportion import log_e_above as log_e_rate_above

_CENTRE = 0.5
_EDGES, _SINGLES = 0.6, 0.4
"""How the capital is divided over the two kinds of sets."""
_STEPS = 11
"""Bounds are told with two digits."""
_Ordered = tuple[list[float], list[tuple[float, float]], Pair]


def total_variation(candidate: Sequence[float], baseline: Sequence[float]) -> float:
    """The distance of two histograms, 0 to 1; 0 if one is empty."""
    first, second = sum(candidate), sum(baseline)
    if first <= 0 or second <= 0:
        return 0.0
    return sum(abs(a / first - b / second) for a, b in zip(candidate, baseline, strict=True)) / 2


def log_e_farther(candidate: Sequence[float], baseline: Sequence[float], margin: float) -> float:
    """log e-value against "the distance is at most `margin` at all times". Counts by bin, both the same bins."""
    totals = sum(candidate), sum(baseline)
    if min(totals) <= 0 or total_variation(candidate, baseline) <= margin:
        return 0.0
    found = []
    for weight, inside, other in _sets(candidate, baseline):
        pair = Pair(totals[0], inside, totals[1], other)
        # A set that does not even look worse has nothing to give: its capital is left out, which only makes the sum less.
        if pair.difference > margin:
            found.append((weight, log_e_above(pair, margin, _CENTRE)))
    return log_mean(found) if found else NEVER


def log_e_nearer(candidate: Sequence[float], baseline: Sequence[float], margin: float) -> float:
    """log e-value against "the distance is at least `margin` at all times"; `inf` for a margin of 1 or more, for nothing is
    farther than that."""
    ordered = _by_ratio(candidate, baseline)
    if margin >= 1.0:
        return 0.0 if ordered[2].empty else inf
    return _log_e_nearer(ordered, margin)


def lower_bound(candidate: Sequence[float], baseline: Sequence[float], log_threshold: float) -> float:
    """The distance is above this with confidence 1 - exp(-log_threshold), at all looks together."""
    return greatest_true(lambda margin: log_e_farther(candidate, baseline, margin) >= log_threshold, 0.0, 1.0, _STEPS)


def upper_bound(candidate: Sequence[float], baseline: Sequence[float], log_threshold: float) -> float:
    """The distance is below this with confidence 1 - exp(-log_threshold), at all looks together."""
    ordered = _by_ratio(candidate, baseline)
    return 1.0 - greatest_true(lambda other: _log_e_nearer(ordered, 1.0 - other) >= log_threshold, 0.0, 1.0, _STEPS)


def log_e_drifted(live: Sequence[float], training: Sequence[float], margin: float) -> float:
    """log e-value against "live counts are at most `margin` from the training's shares", which count as known. For alerts:
    traffic changes by itself, and an honestly retrained model differs."""
    total, known = sum(live), sum(training)
    if total <= 0 or known <= 0:
        return 0.0
    found = []
    for weight, inside, trained in _sets(live, training):
        bound = trained / known + margin
        if bound < 1.0 and inside / total > bound:
            found.append((weight, log_e_rate_above(inside, total, bound)))
    return log_mean(found) if found else NEVER


def by_chance(sample: Sequence[float], alpha: float) -> float:
    """How far the shares of a sample may be from those of what it was drawn from, but for a chance of `alpha`; 0 to 1. On average
    by the inequality of Cauchy and Schwarz, beyond that by McDiarmid's (1989)."""
    rows, bins = sum(sample), sum(1 for count in sample if count)
    return min(1.0, (sqrt(max(bins - 1, 0)) / 2 + sqrt(-log(alpha) / 2)) / sqrt(rows)) if rows > 0 else 1.0


def _by_ratio(candidate: Sequence[float], baseline: Sequence[float]) -> _Ordered:
    """Bins with the candidate in them, those first that have least of the baseline beside it: its counts for one of the
    candidate's, and both counts up to there, from none of the bins to all."""
    bins = sorted([(theirs / ours, ours, theirs) for ours, theirs in zip(candidate, baseline, strict=True) if ours > 0])
    upto = [*accumulate(bins, lambda sums, one: (sums[0] + one[1], sums[1] + one[2]), initial=(0.0, 0.0))]
    return [ratio for ratio, _, _ in bins], upto, Pair(sum(candidate), 0.0, sum(baseline), 0.0)


def _log_e_nearer(ordered: _Ordered, margin: float) -> float:
    ratios, upto, pair = ordered
    if pair.empty:
        return 0.0
    found = []
    for log_weight, hit, miss, other_hit, other_miss in bet_logs(pair.share, margin, _CENTRE, BELOW):
        # A bet that the candidate hits less loses by each of its hits, and gains by each of the baseline's.
        lost, gained = miss - hit, other_hit - other_miss
        ours, theirs = upto[bisect_left(ratios, lost / gained if gained else inf)]
        capital = pair.candidate_units * miss + pair.baseline_units * other_miss
        found.append(log_weight + capital - ours * lost + theirs * gained)
    return log_sum(found)


def _sets(first: Sequence[float], second: Sequence[float]) -> Iterator[tuple[float, float, float]]:
    """Sets of bins that are looked at: the share of capital, and the counts of both histograms in each; complements too."""
    size, one, two = len(first), sum(first), sum(second)
    sets = [(_SINGLES / (2 * size), a, b) for a, b in zip(first, second, strict=True)]
    below_one = below_two = 0.0
    for a, b in zip(first[:-1], second[:-1], strict=True):
        below_one, below_two = below_one + a, below_two + b
        sets.append((_EDGES / (2 * (size - 1)), below_one, below_two))
    for weight, a, b in sets:
        yield weight, a, b
        yield weight, one - a, two - b

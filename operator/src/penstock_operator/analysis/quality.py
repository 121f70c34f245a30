"""Quality by outcomes: are the candidate's answers wrong more often than the baseline's, by more than `margins.quality`?

Outcomes come late, by hours or days, often after the step whose requests they are about. So this test goes over the whole
rollout, revision of the route by revision: a bundle is compared with the other under the same revision alone (Simpson), and one
bet goes through all of them. It holds up nothing: a version goes on with no outcome at all, and goes back only where harm is
established.

Where both bundles have the same table of costs, a wrong answer counts by what it costs, 0 for the table's lowest entry and 1 for
its highest; else every wrong answer counts 1.

Weights. A unit's rows share its weight, and one that was logged with the chance p weighs least / p, where `least` is the smallest
chance of both bundles under the revision: what is in the log then stands for requests that were drawn alike from both. A factor
of the bet, raised to a weight below 1, is at most the mean of the factor and of 1 by that weight (the geometric mean is below the
arithmetic one), which is what leaving units out by chance would give; so the test stays valid. The same holds of an answer that
is wrong in part, by costs. A copy for a shadow and the request itself are one unit of two rows, half a unit each (Hoelder).
"""

from collections.abc import Sequence

from penstock_operator.analysis.alpha import QUALITY, harm_threshold, harmless_threshold
from penstock_operator.analysis.finding import Measured, Verdict
from penstock_operator.analysis.outcomes import Outcomes, Stratum
from penstock_operator.analysis.trial import Trial
from penstock_operator.analysis.words import confidence, decimal, percent, points, several
from penstock_operator.statistics.difference import Pair, log_e_above_all, log_e_below_all, lower_bound_all, upper_bound_all

_CENTRE = 0.15
"""Where the bets are best: models are wrong in one answer of three to one of twenty, where no other constant loses less."""
_LEAST_SHARE = 1e-6
"""Of a revision in which one bundle has less than this part of the outcomes there is nothing to say."""


def measure_quality(trial: Trial, strata: Sequence[Stratum]) -> Measured | None:
    """The test over all revisions in which both have outcomes; None where there is none."""
    strata = [one for one in strata if _LEAST_SHARE < _share(one) < 1.0 - _LEAST_SHARE]
    if not strata:
        return None
    margin, priced = trial.rollout.margins.quality, _priced(strata)
    pairs = [_pair(one, priced=priced) for one in strata]

    def describe(verdict: Verdict) -> str:
        return _describe(trial, strata, pairs, verdict, priced=priced)

    harm = log_e_above_all(pairs, margin, _CENTRE)
    return Measured(QUALITY, harm, lambda: log_e_below_all(pairs, margin, _CENTRE), describe)


def _share(one: Stratum) -> float:
    """The candidate's part of the weight; 0 where an arm has none."""
    ours, theirs = one.candidate.weight, one.baseline.weight
    return ours / (ours + theirs) if ours > 0.0 < theirs else 0.0


def _priced(strata: Sequence[Stratum]) -> bool:
    """Whether all of it has one table of costs."""
    tables = {outcomes.table for one in strata for outcomes in (one.candidate, one.baseline)}
    return len(tables) == 1 and tables != {""}


def _pair(one: Stratum, *, priced: bool) -> Pair:
    scale = min(one.candidate.least, one.baseline.least)
    if one.candidate.shadow or one.baseline.shadow:
        scale /= 2.0
    ours, theirs = one.candidate, one.baseline
    hits = (ours.cost, theirs.cost) if priced else (ours.wrong, theirs.wrong)
    return Pair(scale * ours.weight, scale * hits[0], scale * theirs.weight, scale * hits[1])


def _rates(pairs: Sequence[Pair]) -> tuple[float, float]:
    """The candidate's rate, and what the baseline's is where it is weighed by revision as the candidate's."""
    total = sum(pair.candidate_units for pair in pairs)
    ours = sum(pair.candidate_hits for pair in pairs) / total
    return ours, sum(pair.candidate_units * pair.baseline_rate for pair in pairs) / total


def _describe(trial: Trial, strata: Sequence[Stratum], pairs: Sequence[Pair], verdict: Verdict, *, priced: bool) -> str:
    """Rates are of weights; how many outcomes they rest on is told of rows."""
    margin, sure = trial.rollout.margins.quality, confidence(trial.rollout.alpha)
    ours, theirs = _rates(pairs)
    known, others = (several(sum(one.rows for one in arm), "outcome") for arm in _arms(strata))
    if priced:
        low, spread = strata[0].candidate.low, strata[0].candidate.spread
        text = (
            f"an answer of {trial.candidate} costs {decimal(low + ours * spread)} by the card's costs ({known}), one of"
            f" {trial.baseline} {decimal(low + theirs * spread)} in the same steps ({others})"
        )
        unit, bounded = "", f"{decimal(margin * spread)} ({percent(margin)} of the costs' range)"
    else:
        text = (
            f"{percent(ours)} of {trial.candidate}'s answers turned out wrong ({known}) against {percent(theirs)} of"
            f" {trial.baseline}'s in the same steps ({others})"
        )
        spread, unit, bounded = 100.0, " points", points(margin)
    if verdict is Verdict.HARMFUL:
        least = max(lower_bound_all(pairs, harm_threshold(trial, QUALITY), _CENTRE), margin)
        return f"{text}; {sure} at least {decimal(least * spread)}{unit} more, over the margin of {bounded}"
    most = upper_bound_all(pairs, harmless_threshold(trial), _CENTRE)
    if verdict is Verdict.HARMLESS:
        return (
            f"{text}; {sure} at most {decimal(max(min(most, margin), 0.0) * spread)}{unit} more, within the margin of {bounded}"
        )
    return f"{text}; {sure} at most {decimal(most * spread)}{unit} more, not yet within the margin of {bounded}"


def _arms(strata: Sequence[Stratum]) -> tuple[list[Outcomes], list[Outcomes]]:
    return [one.candidate for one in strata], [one.baseline for one in strata]

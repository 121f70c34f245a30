"""Latency: are the candidate's requests more than `margins.latencyP99` times as long as the baseline's, as a whole distribution?

Harm is looked for at three quantiles, with the capital divided over them: a fault that makes every request slower is plain at the
median after a few dozen requests, hundreds before the p99 of a small arm can tell. Harmless is asked for at all three.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import log

from penstock_operator.analysis.alpha import LATENCY, harm_threshold, harmless_threshold
from penstock_operator.analysis.arms import Arm, Evidence, weight_of
from penstock_operator.analysis.bins import SOUGHT, coarsened, greatest_shift, middle_s, ratio_of
from penstock_operator.analysis.callers import Likeness, of_latencies, weight, whole_bin
from penstock_operator.analysis.finding import Measured, Verdict
from penstock_operator.analysis.nouns import each
from penstock_operator.analysis.trial import Trial
from penstock_operator.analysis.words import confidence, factor, seconds, several
from penstock_operator.statistics.betting import log_mean
from penstock_operator.statistics.quantile import Sample, log_e_longer, log_e_no_longer, shift_over, shift_within

_TAILS = ((0.5, "p50", 0.3), (0.1, "p90", 0.2), (0.01, "p99", 0.5))
"""What is beyond the quantile, its name, and its share of the capital."""


def measure_latency(trial: Trial, evidence: Evidence) -> Measured | None:
    """The test on answered requests; None before there are any requests. Requests of which none was answered leave it undecided:
    two versions that fail alike are not known to be equally fast."""
    scale = min(evidence.candidate.per_doubling, evidence.baseline.per_doubling)
    candidate, baseline = _sample(evidence.candidate, scale), _sample(evidence.baseline, scale)
    of_each = each(evidence.candidate, evidence.baseline)
    if not candidate.total and not baseline.total:
        sent = evidence.candidate.units + evidence.baseline.units
        said = f"none of {several(sent, 'request')}{of_each} was answered"
        return Measured(LATENCY, 0.0, lambda: 0.0, lambda _: said) if sent else None
    margin = trial.rollout.margins.latency_p99
    over, within = shift_over(margin, scale), shift_within(margin, scale)
    weighed = _weighed(evidence, candidate, baseline, scale)
    longer = [log_e_longer(*harm, tail, over) for (harm, _), (tail, _, _) in zip(weighed, _TAILS, strict=True)]

    @cache
    def kept() -> list[float]:
        return [log_e_no_longer(*seen, tail, within) for (_, seen), (tail, _, _) in zip(weighed, _TAILS, strict=True)]

    def describe(verdict: Verdict) -> str:
        if verdict is Verdict.HARMFUL:
            at = max(range(len(_TAILS)), key=lambda place: longer[place] + log(_TAILS[place][2]))
            return _describe(trial, *weighed[at][0], at, verdict, scale, of_each)
        at = min(range(len(_TAILS)), key=lambda place: (kept()[place], place))
        return _describe(trial, *weighed[at][1], at, verdict, scale, of_each)

    harm = log_mean((share, value) for (_, _, share), value in zip(_TAILS, longer, strict=True))
    return Measured(LATENCY, harm, lambda: min(kept()), describe)


def _sample(arm: Arm, scale: int) -> Sample:
    """Requests that shared a call are not observations by themselves: so many of them count as one. The geometric mean of what
    they would have done to the capital is at most what one does (Hoelder), however alike they are."""
    total = sum(arm.latency.values())
    return Sample.of(coarsened(arm.latency, arm.per_doubling, scale), weight_of(total, arm.calls))


_Arms = tuple[Sample, Sample]
"""The candidate's, the baseline's."""


def _weighed(evidence: Evidence, candidate: Sample, baseline: Sample, scale: int) -> list[tuple[_Arms, _Arms]]:
    """Both arms at each quantile, each observation for what it says, less where callers are few: for harm, for the other."""
    found: list[tuple[_Arms, _Arms]] = []
    first: Likeness | None = None
    for tail, _, _ in _TAILS:
        edges = whole_bin(candidate.bin_of(tail), scale), whole_bin(baseline.bin_of(tail), scale)
        alike = of_latencies(evidence, edges, first)
        # What is beyond the median is soon known; of what is beyond the p99 there are few pairs.
        first = first or alike
        harm, seen = (
            (_less(candidate, weight(evidence.candidate, one)), _less(baseline, weight(evidence.baseline, one)))
            for one in (alike.might, alike.seen)
        )
        found.append((harm, seen))
    return found


def _less(sample: Sample, part: float) -> Sample:
    return sample if part == 1.0 else replace(sample, weight=part * sample.weight)


def _describe(trial: Trial, candidate: Sample, baseline: Sample, at: int, verdict: Verdict, scale: int, of_each: str) -> str:
    tail, name, share = _TAILS[at]
    margin, sure = trial.rollout.margins.latency_p99, confidence(trial.rollout.alpha)
    text = (
        f"{name} latency of {trial.candidate} is {_at(candidate, tail, scale)} ({_counted(candidate)}{of_each})"
        f" against {_at(baseline, tail, scale)} of {trial.baseline} ({_counted(baseline)})"
    )
    if verdict is Verdict.HARMFUL:
        needed = harm_threshold(trial, LATENCY) - log(share)
        established = greatest_shift(
            lambda shift: log_e_longer(candidate, baseline, tail, shift) >= needed, shift_over(margin, scale), SOUGHT * scale + 1
        )
        least = max(ratio_of(established, scale), margin)
        return f"{text}; {sure} at least {factor(least)} times as long, over the margin of {factor(margin)}"
    needed = harmless_threshold(trial)
    most = _least(lambda shift: log_e_no_longer(candidate, baseline, tail, shift) >= needed, scale)
    if most is None:
        return f"{text}; too few to bound how much longer"
    if verdict is Verdict.HARMLESS:
        return f"{text}; {sure} at most {factor(min(most, margin))} times as long, within the margin of {factor(margin)}"
    return f"{text}; {sure} at most {factor(most)} times as long, not yet within the margin of {factor(margin)}"


def _at(sample: Sample, tail: float, scale: int) -> str:
    return seconds(middle_s(sample.bin_of(tail), scale)) if sample.total else "unknown"


def _counted(sample: Sample) -> str:
    return several(sample.beyond[0] if sample.beyond else 0, "request")


def _least(holds: Callable[[int], bool], scale: int) -> float | None:
    """The least ratio, in whole bins, that is established as a bound; None if none is. What is above a bound is one, too."""
    farthest = SOUGHT * scale
    low, high = -farthest - 1, farthest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return ratio_of(high, scale) if high < farthest else None

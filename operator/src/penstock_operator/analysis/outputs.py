"""Outputs: do the two versions' answers differ by more than `margins.outputDrift`?

Answers are expected to differ a little: that is why a model is replaced. They are compared arm with arm. The distance from what
training looked like is no reason to roll back, traffic and honest models change: `drift` only tells.
"""

from collections.abc import Mapping
from functools import cache
from math import log

from penstock_operator.analysis.alpha import OUTPUTS, harm_threshold, harmless_threshold
from penstock_operator.analysis.arms import Evidence, Histogram
from penstock_operator.analysis.callers import of_answers, weight
from penstock_operator.analysis.finding import Measured, Verdict
from penstock_operator.analysis.nouns import each
from penstock_operator.analysis.trial import Trial
from penstock_operator.analysis.words import confidence, count, percent, several
from penstock_operator.statistics import distance
from penstock_operator.statistics.betting import log_mean

VALUE = "value"
"""The name of a number that is predicted; all others are of labels."""

_Counts = tuple[list[float], list[float]]


def measure_outputs(trial: Trial, evidence: Evidence) -> Measured | None:
    """The distance of the arms' answers; None if they have no histogram in common, nor answer something else altogether."""
    outputs = evidence.candidate.outputs, evidence.baseline.outputs
    common = _common(*outputs) or _other_kinds(*outputs)
    return _measure(trial, evidence, common) if common else None


def drift(trial: Trial, evidence: Evidence) -> tuple[str, ...]:
    """What of the candidate is farther from its training than the margin, as sentences; a false one has a chance of alpha. A
    bundle's profile has few rows: what chance may have done to them comes on top of the margin."""
    arm, margin = evidence.candidate, trial.rollout.margins.output_drift
    chance = trial.rollout.alpha / (2 * max(len(arm.training), 1))
    return tuple(
        f"{percent(distance.total_variation(live, trained))} of {trial.candidate}'s {_called(name, arm.outputs)} would have to"
        f" change to be distributed as in its training, over the margin of {percent(margin)}"
        for name, (live, trained) in sorted(arm.training.items())
        if distance.log_e_drifted(live, trained, margin + distance.by_chance(trained, chance)) >= -log(chance)
    )


def _called(name: str, outputs: Mapping[str, Histogram]) -> str:
    return f"{'answers' if name in outputs else 'inputs'} ({name})"


def _common(candidate: Mapping[str, Histogram], baseline: Mapping[str, Histogram]) -> dict[str, _Counts]:
    """Histograms that both arms have, in the same bins."""
    found = {}
    for name in sorted(candidate.keys() & baseline.keys()):
        ours, theirs = candidate[name], baseline[name]
        if len(ours) == len(theirs) and len(ours) > 1 and any(ours) and any(theirs):
            found[name] = (list(ours), list(theirs))
    return found


def _other_kinds(candidate: Mapping[str, Histogram], baseline: Mapping[str, Histogram]) -> dict[str, _Counts]:
    """A value instead of a label, or the other way round, as one histogram of what was answered; empty if it is not so."""
    ours, theirs = ({name: sum(counts) for name, counts in told.items() if any(counts)} for told in (candidate, baseline))
    if not ours or not theirs or ours.keys() & theirs.keys() or (VALUE in ours) == (VALUE in theirs):
        return {}
    name = f"{_kind(ours)} instead of {_kind(theirs)}"
    return {name: ([max(ours.values()), 0.0], [0.0, max(theirs.values())])}


def _kind(told: Mapping[str, float]) -> str:
    return VALUE if VALUE in told else "labels"


def _weighed(evidence: Evidence, counts: _Counts, likeness: float) -> _Counts:
    """The counts, each for what it says: less where few callers got them."""
    weights = weight(evidence.candidate, likeness), weight(evidence.baseline, likeness)
    if weights == (1.0, 1.0):
        return counts
    ours, theirs = ([one * number for number in told] for one, told in zip(weights, counts, strict=True))
    return ours, theirs


def _measure(trial: Trial, evidence: Evidence, common: dict[str, _Counts]) -> Measured:
    margin = trial.rollout.margins.output_drift
    alike = {name: of_answers(evidence, name) for name in common}
    harm_by = {name: _weighed(evidence, counts, alike[name].might) for name, counts in common.items()}
    farther = {name: distance.log_e_farther(*counts, margin) for name, counts in harm_by.items()}

    @cache
    def kept_by() -> dict[str, _Counts]:
        return {name: _weighed(evidence, counts, alike[name].seen) for name, counts in common.items()}

    @cache
    def nearer() -> dict[str, float]:
        return {name: distance.log_e_nearer(*counts, margin) for name, counts in kept_by().items()}

    def describe(verdict: Verdict) -> str:
        harmful = verdict is Verdict.HARMFUL
        name = max(farther, key=farther.__getitem__) if harmful else min(nearer(), key=nearer().__getitem__)
        weighed = harm_by[name] if harmful else kept_by()[name]
        of_each = each(evidence.candidate, evidence.baseline)
        return _describe(trial, f"answers ({name})", (common[name], weighed), of_each, len(common), verdict)

    harm = log_mean((1.0 / len(common), value) for value in farther.values())
    return Measured(OUTPUTS, harm, lambda: min(nearer().values()), describe)


def _describe(trial: Trial, noun: str, told: tuple[_Counts, _Counts], of_each: str, several_tests: int, verdict: Verdict) -> str:
    """`told`: the counts, and the same for what they say."""
    counts, weighed = told
    margin, sure = trial.rollout.margins.output_drift, confidence(trial.rollout.alpha)
    text = (
        f"{percent(distance.total_variation(*counts))} of {trial.candidate}'s {noun} would have to change to be distributed as"
        f" {trial.baseline}'s ({count(sum(counts[0]))} against {several(sum(counts[1]), 'request')}{of_each})"
    )
    if verdict is Verdict.HARMFUL:
        least = distance.lower_bound(*weighed, harm_threshold(trial, OUTPUTS) + log(several_tests))
        return f"{text}; {sure} at least {percent(max(least, margin))}, over the margin of {percent(margin)}"
    most = distance.upper_bound(*weighed, harmless_threshold(trial))
    if verdict is Verdict.HARMLESS:
        return f"{text}; {sure} at most {percent(min(most, margin))}, within the margin of {percent(margin)}"
    return f"{text}; {sure} at most {percent(most)}, not yet within the margin of {percent(margin)}"

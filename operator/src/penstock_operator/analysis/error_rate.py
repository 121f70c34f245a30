"""The error rate: do more of the candidate's units fail than of the baseline's, by more than `margins.errorRate`?"""

from dataclasses import replace
from math import log

from penstock_operator.analysis.alpha import ERROR_RATE, harm_threshold, harmless_threshold
from penstock_operator.analysis.arms import Arm, Evidence
from penstock_operator.analysis.finding import Measured, Verdict
from penstock_operator.analysis.trial import Trial
from penstock_operator.analysis.words import confidence, count, percent, points
from penstock_operator.statistics import proportion
from penstock_operator.statistics.difference import Pair, log_e_above, log_e_below, lower_bound, upper_bound


def measure_error_rate(trial: Trial, evidence: Evidence) -> Measured:
    """The test on units that failed. Says nothing as long as an arm has none."""
    candidate, baseline = evidence.candidate, evidence.baseline
    pair = Pair(candidate.units, candidate.failed, baseline.units, baseline.failed)
    margin = trial.rollout.margins.error_rate

    def describe(verdict: Verdict) -> str:
        return f"{_counted(trial, candidate, baseline)}; {_bound(trial, pair, verdict)} of {points(margin)}"

    return Measured(ERROR_RATE, log_e_above(pair, margin), lambda: log_e_below(pair, margin), describe)


def measure_past_error_rate(trial: Trial, evidence: Evidence) -> Measured:
    """The candidate's error rate against the most that the baseline's is likely to have been, when it still had requests. An
    outage of what both need looks like harm here: nothing concurrent is left to compare with."""
    candidate, baseline = evidence.candidate, evidence.baseline
    needed, margin = harm_threshold(trial, ERROR_RATE) + log(2.0), trial.rollout.margins.error_rate
    most = proportion.upper_bound(baseline.failed, baseline.units, needed) if baseline.units else 1.0
    # Half of this test's alpha is for the bound on the baseline.
    harm = proportion.log_e_above(candidate.failed, candidate.units, most + margin) - log(2.0)

    def describe(_: Verdict) -> str:
        return f"{_counted(trial, candidate, baseline)} before; the margin is {points(margin)} points"

    return Measured(ERROR_RATE, harm, lambda: 0.0, describe)


def would_tell(trial: Trial, evidence: Evidence) -> bool:
    """Whether there are requests enough that a candidate which failed all of them would be known to be harmful."""
    candidate = evidence.candidate
    failing = replace(evidence, candidate=replace(candidate, failed=candidate.units))
    measured = (measure_past_error_rate if evidence.past_baseline else measure_error_rate)(trial, failing)
    return measured.harm >= harm_threshold(trial, ERROR_RATE)


def _counted(trial: Trial, candidate: Arm, baseline: Arm) -> str:
    return (
        f"{percent(_rate(candidate))} of {trial.candidate}'s requests failed"
        f" ({count(candidate.failed)} of {count(candidate.units)}) against {percent(_rate(baseline))}"
        f" of {trial.baseline}'s ({count(baseline.failed)} of {count(baseline.units)})"
    )


def _rate(arm: Arm) -> float:
    return arm.failed / arm.units if arm.units else 0.0


def _bound(trial: Trial, pair: Pair, verdict: Verdict) -> str:
    sure, margin = confidence(trial.rollout.alpha), trial.rollout.margins.error_rate
    if verdict is Verdict.HARMFUL:
        least = max(lower_bound(pair, harm_threshold(trial, ERROR_RATE)), margin)
        return f"{sure} at least {points(least)} points more, over the margin"
    most = upper_bound(pair, harmless_threshold(trial)) if not pair.empty else 1.0
    if verdict is Verdict.HARMLESS:
        return f"{sure} at most {points(max(min(most, margin), 0.0))} points more, within the margin"
    return f"{sure} at most {points(most)} points more, not yet within the margin"

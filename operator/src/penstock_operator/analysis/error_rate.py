"""The error rate: do more of the candidate's units fail than of the baseline's, by more than `margins.errorRate`?"""

from dataclasses import replace

from penstock_operator.analysis.alpha import ERROR_RATE, harm_threshold, harmless_threshold
from penstock_operator.analysis.arms import Arm, Evidence
from penstock_operator.analysis.finding import Measured, Verdict
from penstock_operator.analysis.nouns import each
from penstock_operator.analysis.trial import Trial
from penstock_operator.analysis.words import confidence, count, percent, points
from penstock_operator.statistics.difference import Pair, log_e_above, log_e_below, lower_bound, upper_bound


def measure_error_rate(trial: Trial, evidence: Evidence) -> Measured:
    """The test on units that failed. Says nothing as long as an arm has none. A caller who failed in several transformers was
    given to an arm once, and is harm once (`callers`)."""
    candidate, baseline = evidence.candidate, evidence.baseline
    pair = Pair(candidate.units, candidate.failed, baseline.units, baseline.failed)
    once = pair if candidate.once == baseline.once == 1.0 else Pair(*_once(candidate), *_once(baseline))
    margin = trial.rollout.margins.error_rate

    def describe(verdict: Verdict) -> str:
        told = once if verdict is Verdict.HARMFUL else pair
        return f"{_counted(trial, evidence)}; {_bound(trial, told, verdict)} of {points(margin)}"

    return Measured(ERROR_RATE, log_e_above(once, margin), lambda: log_e_below(pair, margin), describe)


def _once(arm: Arm) -> tuple[float, float]:
    """Units and failures without those that failed before in another transformer."""
    again = (1.0 - arm.once) * arm.failed
    return arm.units - again, arm.failed - again


def would_tell(trial: Trial, evidence: Evidence) -> bool:
    """Whether there are requests enough that a candidate which failed all of them would be known to be harmful."""
    candidate = evidence.candidate
    failing = replace(evidence, candidate=replace(candidate, failed=candidate.units))
    return measure_error_rate(trial, failing).harm >= harm_threshold(trial, ERROR_RATE)


def _counted(trial: Trial, evidence: Evidence) -> str:
    candidate, baseline = evidence.candidate, evidence.baseline
    ours, theirs = (
        f"{count(candidate.failed)} of {count(candidate.units)}",
        f"{count(baseline.failed)} of {count(baseline.units)}",
    )
    return (
        f"{percent(_rate(candidate))} of {trial.candidate}'s requests failed ({ours}{each(candidate, baseline)})"
        f" against {percent(_rate(baseline))} of {trial.baseline}'s ({theirs})"
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

"""A shadow beside what was answered, on the same requests: failures, disagreement, latency, each pair by pair.

What happens to a request happens to both of its answers, so that nothing but the versions is left to differ: a shadow finds in
seconds what a step of a few per cent finds in minutes, and nobody was answered by it.

Of failures and labels, that is. Calls of a request and of its copy are not made alike (`measure_paired_latency`): how long a
shadow takes can take it back, and holds it up no longer than until it would have.
"""

from collections.abc import Callable

from penstock_operator.analysis.alpha import DISAGREEMENT, ERROR_RATE, LATENCY, harm_threshold, harmless_threshold
from penstock_operator.analysis.arms import Pairs, weight_of
from penstock_operator.analysis.bins import SOUGHT, even, greatest_shift, ratio_of
from penstock_operator.analysis.finding import Measured, Verdict
from penstock_operator.analysis.nouns import each
from penstock_operator.analysis.trial import Trial
from penstock_operator.analysis.words import confidence, count, factor, percent, points, several
from penstock_operator.statistics import paired, proportion
from penstock_operator.statistics.quantile import shift_over

_HALF = 0.5


def measure_paired_errors(trial: Trial, pairs: Pairs) -> Measured:
    """Copies that failed where the answer did not, against the other way round, each key once: a caller who always fails at one
    of the two, or has many requests, is one."""
    margin = trial.rollout.margins.error_rate
    counts = (pairs.only_shadow_failed, pairs.only_answer_failed, pairs.units)

    def describe(verdict: Verdict) -> str:
        sure = confidence(trial.rollout.alpha)
        text = (
            f"{trial.candidate} failed on {count(counts[0])} of {count(counts[2])} copied requests that {trial.baseline}"
            f" answered, {trial.baseline} on {count(counts[1])} that {trial.candidate} answered{each(pairs)}"
        )
        if verdict is Verdict.HARMFUL:
            least = max(paired.lower_bound(*counts, harm_threshold(trial, ERROR_RATE)), margin)
            return f"{text}; {sure} at least {points(least)} points more, over the margin of {points(margin)}"
        most = paired.upper_bound(*counts, harmless_threshold(trial))
        kept = "within" if verdict is Verdict.HARMLESS else "not yet within"
        return f"{text}; {sure} at most {points(max(most, 0.0))} points more, {kept} the margin of {points(margin)}"

    return Measured(ERROR_RATE, paired.log_e_above(*counts, margin), lambda: paired.log_e_below(*counts, margin), describe)


def measure_disagreement(trial: Trial, pairs: Pairs) -> Measured | None:
    """Pairs with other labels; None of models without labels."""
    compared = pairs.agreeing + pairs.differing
    if not compared:
        return None
    margin, differing = trial.rollout.margins.disagreement, pairs.differing

    def describe(verdict: Verdict) -> str:
        sure = confidence(trial.rollout.alpha)
        text = (
            f"{trial.candidate} gives another label than {trial.baseline} to {percent(differing / compared)} of requests"
            f" ({count(differing)} of {count(compared)} copied{each(pairs)})"
        )
        if verdict is Verdict.HARMFUL:
            least = percent(max(proportion.lower_bound(differing, compared, harm_threshold(trial, DISAGREEMENT)), margin))
            # The first is over a margin of 0, long before there is more to say of how often they come.
            bound = f"; {sure} to at least {least}" if least != percent(0.0) else ""
            return f"{text}{bound}, over the margin of {percent(margin)}"
        most = proportion.upper_bound(differing, compared, harmless_threshold(trial))
        kept = "within" if verdict is Verdict.HARMLESS else "not yet within"
        return f"{text}; {sure} to at most {percent(most)}, {kept} the margin of {percent(margin)}"

    return Measured(
        DISAGREEMENT,
        proportion.log_e_above(differing, compared, margin),
        lambda: proportion.log_e_below(differing, compared, margin),
        describe,
    )


def measure_paired_latency(trial: Trial, pairs: Pairs) -> Measured | None:
    """The median of the ratio of both latencies on the same request; None before there are pairs, undecided while of none both
    halves were answered. Harm only: it is never called harmless.

    What is compared is the call that a request was in with the call that its copy was in, and these differ by more than the
    version. Requests have several batches under way at once, copies one: others wait meanwhile and go together, so that a copy's
    call has other rows, and another number of them. It is made while its request's is under way, by the process that has that
    one's answers to give and the next batches to begin before it reads what the copy got. And it goes to pods with a part of the
    requests. The first step has none of the first two, and all its requests wait alike.
    """
    total = sum(pairs.ratios.values())
    if not total:
        said = f"none of {several(pairs.requests, 'copied request')} was answered by both versions"
        return Measured(LATENCY, 0.0, lambda: 0.0, lambda _: said) if pairs.requests else None
    # As of `latency`: copies of one call took equally long, and are one observation.
    weight = weight_of(total, pairs.calls)

    def longer(shift: int) -> float:
        """log e-value against "the median ratio is below that of so many bins"."""
        return proportion.log_e_above(weight * _beyond(pairs, shift), weight * total, _HALF)

    def describe(verdict: Verdict) -> str:
        return f"{_median(trial, pairs, total)}; {_bound(trial, longer, pairs.per_doubling, verdict)}"

    return Measured(LATENCY, longer(_margin(trial, pairs)), lambda: 0.0, describe)


def looks_slower(trial: Trial, pairs: Pairs) -> bool:
    """Whether a shadow takes longer than the margin in the median of the pairs so far: established or not."""
    return _beyond(pairs, _margin(trial, pairs)) > _HALF * sum(pairs.ratios.values())


def latency_would_tell(trial: Trial, pairs: Pairs) -> bool:
    """Whether there are so many pairs that a shadow which is slower than the margin on all of them would be known to be."""
    total = sum(pairs.ratios.values())
    alone = weight_of(total, pairs.calls) * total
    return proportion.log_e_above(alone, alone, _HALF) >= harm_threshold(trial, LATENCY)


def _margin(trial: Trial, pairs: Pairs) -> int:
    """From how many bins on a ratio is over the margin."""
    return shift_over(trial.rollout.margins.latency_p99, pairs.per_doubling)


def _beyond(pairs: Pairs, shift: int) -> float:
    """How many pairs have at least the ratio that so many bins make."""
    first = even(pairs.per_doubling) + shift
    return sum(number for place, number in pairs.ratios.items() if place >= first)


def _median(trial: Trial, pairs: Pairs, total: float) -> str:
    equal, beyond = even(pairs.per_doubling), 0.0
    middle = equal
    for place in sorted(pairs.ratios, reverse=True):
        beyond, middle = beyond + pairs.ratios[place], place
        if 2 * beyond >= total:
            break
    ratio = factor(ratio_of(middle - equal, pairs.per_doubling))
    return (
        f"on the same requests {trial.candidate} takes {ratio} times as long as {trial.baseline} in the"
        f" median ({count(total)} copied{each(pairs)})"
    )


def _bound(trial: Trial, longer: Callable[[int], float], scale: int, verdict: Verdict) -> str:
    """The greatest ratio that is established. There is no other: a shadow's latency is never called harmless."""
    margin, sure, needed = trial.rollout.margins.latency_p99, confidence(trial.rollout.alpha), harm_threshold(trial, LATENCY)
    farthest = SOUGHT * scale
    established = greatest_shift(lambda shift: longer(shift) >= needed, -farthest - 1, farthest + 1)
    least = ratio_of(established, scale)
    if verdict is Verdict.HARMFUL:
        return f"{sure} at least {factor(max(least, margin))} times as long, over the margin of {factor(margin)}"
    if established < -farthest:
        return f"too few to bound how much longer, not known to be over the margin of {factor(margin)}"
    return f"{sure} at least {factor(least)} times as long, not known to be over the margin of {factor(margin)}"

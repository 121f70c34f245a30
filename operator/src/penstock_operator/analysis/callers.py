"""Few callers who come again and again: what their requests count for, of latency and of answers.

    Callers of both arms --how often one comes, how alike what one gets is--> weight of an arm's observations, up to 1

At a step chance gives callers to an arm, each once, and each is counted anew every minute. If what a caller gets is its own, then
so are its minutes, and equal versions differ by who happened to come to which. Observations that come in clusters are worth

    1 / (1 + others * likeness)        of what as many by themselves are                        (Kish, Survey Sampling, 1965, 5.4)

where `others` is how many more an observation has of its own caller, and `likeness` the correlation of two of one caller: both
are told by transformers (`penstock.evidence.callers`), the second as how often two that follow each other are alike, beyond
chance. It is that of the two arms together: equal versions have the same, and one that is not has another at its own cost.

Harm takes it as great as it might well be, while little is known of it, and harmlessness as it was seen. So few callers show
neither; and callers whose every request is another are as many observations as before.

Failures need no such weight: a key that has failed counts no more (`penstock_transformer.evidence.keys`), in one transformer. Of
several, each has found it for itself; harm takes it once.

Invariant: at 100 %, and of shadows, nothing is told, and all weights are 1: who is copied is drawn anew each minute, and the
callers of both sides are the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from penstock.evidence.callers import Callers
from penstock_operator.analysis.arms import Arm, Evidence
from penstock_operator.analysis.bins import COARSE
from penstock_operator.analysis.words import percent, several

_DOUBT = 1.0
"""Pairs, of such as could have been alike, that are added to those that were seen: of fewer nothing is known."""
_FEW = 20.0
"""Callers of whom it is said that they are few, whatever they get."""
_MUCH = 0.5
"""A weight from which on callers are why nothing is decided."""
_MOST = 0.5
"""Of the requests: that fewer have a key is worth no words where what they get is not alike."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """The correlation of two observations of a caller, 0 to 1: as it was `seen`, and as great as it `might` be."""

    seen: float = 1.0
    might: float = 1.0


ALL_APART = Likeness(0.0, 0.0)


def others(arm: Arm) -> float:
    """How many more an observation has of its own caller, on average; requests without a key have none."""
    callers = arm.callers
    if callers is None or not arm.units:
        return 0.0
    return callers.came.others * _keyed(arm, callers)


def _keyed(arm: Arm, callers: Callers) -> float:
    """What part of an arm's units has a key."""
    return min(1.0, callers.keyed / arm.units)


def weight(arm: Arm, likeness: float) -> float:
    """What each of an arm's observations counts for."""
    return 1.0 / (1.0 + others(arm) * likeness)


def of_answers(evidence: Evidence, name: str) -> Likeness:
    """How alike the answers of a caller are, in this output."""
    if not _come_again(evidence):
        return ALL_APART
    return _likeness(_answers(arm, name) for arm in (evidence.candidate, evidence.baseline))


def of_latencies(evidence: Evidence, edges: tuple[int, int], otherwise: Likeness | None = None) -> Likeness:
    """How alike the latencies of a caller are: whether they are beyond these edges, whole bins, of the candidate and of the
    baseline. `otherwise`: how alike they are at another quantile, for one beyond which too few are to tell."""
    if not _come_again(evidence):
        return ALL_APART
    arms = zip((evidence.candidate, evidence.baseline), edges, strict=True)
    return _likeness((_latencies(arm, edge) for arm, edge in arms), otherwise)


def whole_bin(edge: int, per_doubling: int) -> int:
    """The whole bin in which a narrower one lies."""
    return edge * COARSE // per_doubling


def failed_once(callers: Callers, failed: int) -> float:
    """What part of so many failures is left if a caller who failed in several transformers did so once."""
    twice = callers.failed.total - len(callers.failed.counts) << callers.failed.level
    return 1.0 - min(twice / failed, 1.0) if failed else 1.0


def few_callers(evidence: Evidence) -> str:
    """Why nothing is decided, if that is because few callers have sent the candidate's requests; empty if not."""
    arm = evidence.candidate
    callers = arm.callers
    if callers is None or others(arm) < 1.0:
        return ""
    weights = {"latencies": weight(arm, of_latencies(evidence, (_middle(arm), _middle(evidence.baseline))).seen)}
    weights["answers"] = min([weight(arm, of_answers(evidence, name).seen) for name in arm.outputs], default=1.0)
    noun = min(reversed(weights), key=weights.__getitem__)
    keyed = _keyed(arm, callers)
    if weights[noun] > _MUCH and (callers.came.distinct > _FEW or keyed <= _MOST):
        return ""
    part = "all" if keyed == 1.0 else percent(keyed)
    about = "about " if callers.came.level else ""
    said = f"; {part} of it comes from {about}{several(callers.came.distinct, 'route key')}"
    if weights[noun] <= _MUCH:
        # What is weighed is all that the arm has, of those without a key, too.
        whose = "whose" if keyed == 1.0 else "so that all"
        said += f", {whose} {noun} count as {several(weights[noun] * arm.units, 'request')}"
    return f"{said}: too few callers"


def _middle(arm: Arm) -> int:
    """The bin in which the median of the compared latencies lies."""
    if arm.callers is None:
        return 0
    counts = sorted([*arm.callers.quicker, *arm.callers.slower])
    left = sum([count for _, count in counts]) / 2.0
    for number, count in counts:
        left -= count
        if left <= 0.0:
            return number
    return 0


def _come_again(evidence: Evidence) -> bool:
    return others(evidence.candidate) > 0.0 or others(evidence.baseline) > 0.0


_Pairs = tuple[float, float, float]
"""How many pairs were alike beyond chance; how many could have been; the variance of the first if it was all chance."""


def _likeness(told: Iterable[_Pairs], otherwise: Likeness | None = None) -> Likeness:
    """The correlation in these pairs, and in `_DOUBT` more that are as alike as is known `otherwise`."""
    beyond = possible = variance = 0.0
    for one, other, third in told:
        beyond, possible, variance = beyond + one, possible + other, variance + third
    beyond = max(beyond, 0.0)
    if otherwise is not None:
        seen = (beyond + _DOUBT * otherwise.seen) / (possible + _DOUBT)
    else:
        seen = beyond / possible if possible > 0.0 else 1.0
    might = (beyond + sqrt(variance) + _DOUBT * (1.0 if otherwise is None else otherwise.might)) / (possible + _DOUBT)
    return Likeness(min(seen, 1.0), min(max(might, seen), 1.0))


def _answers(arm: Arm, name: str) -> _Pairs:
    pairs, same = arm.callers.alike.get(name, (0, 0)) if arm.callers is not None else (0, 0)
    counts = arm.outputs.get(name, ())
    total = sum(counts)
    if not pairs or not total:
        return 0.0, 0.0, 0.0
    chance = sum([(count / total) ** 2 for count in counts])
    return same - chance * pairs, pairs * (1.0 - chance), pairs * chance * (1.0 - chance)


def _latencies(arm: Arm, edge: int) -> _Pairs:
    if arm.callers is None:
        return 0.0, 0.0, 0.0
    quicker, slower = arm.callers.quicker, arm.callers.slower
    pairs = sum([count for _, count in quicker])
    both = sum([count for number, count in quicker if number >= edge])
    either = both + sum([count for number, count in slower if number >= edge])
    share = either / (2 * pairs) if pairs else 0.0
    spread = share * (1.0 - share)
    return both - share * share * pairs, pairs * spread, pairs * spread * spread

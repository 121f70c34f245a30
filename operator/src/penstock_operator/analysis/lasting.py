"""Latency with all requests: what is harmful has to last.

    counts of the stage at each look --Blocks.after--> log e-value of each block of time by itself --Blocks.harm--> of four on end

While requests are shared every moment befalls both versions. At 100 % it does not: the one before gets copies of a part of them,
and what it took under as much load (`loaded`) it took at another time. A burst of load, or a slow minute of what only busy pods
notice, makes thousands of requests slower: these are one observation, whatever their number.

So the stage is cut into blocks of half a minute. Each is tested by itself: its requests beside its copies, than which they have
to be longer by more than the margin and what load made of it before; and beside what the version before took under load. What
slows both versions cancels in the first, and the loads are equal in the second; the lesser e-value counts. Harm is what `BLOCKS`
blocks on end say alike: the least of their log e-values, so many times over.

Under more load than the version before had then, any version is slower: a block with more requests a second (`traffic`) that is
slower says nothing, neither of harm nor of its absence, if load was seen to make anything longer; the next ones are asked. A
version of which eight blocks said nothing and none anything goes on: that much more load has come to stay, and no harm is
established.

Theorem. A product of e-values of disjoint blocks is one, if each has a mean of at most 1 whatever came before, and
however many requests came in it: so some may be left out for that. With a part of 1 / (j (j + 1)) of the capital staked on harm
from block j on, the sum over all j is an e-process; what is given here is at most its term for the last `BLOCKS`.

What that is worth where the loads differ: of the test's share of alpha each block is asked for the fourth root, by default a
tenth. It is enough that fewer than a tenth of the blocks are slower than the margin for no fault of the version, each for a
reason of its own. No spell that is over within a minute takes a version back, however slow it was.

Invariant: no counts are in two blocks.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import log

import msgspec

from penstock_operator.analysis.alpha import LATENCY, harm_threshold
from penstock_operator.analysis.arms import Arm, Evidence, weight_of
from penstock_operator.analysis.bins import FINE, coarsened
from penstock_operator.analysis.finding import Measured, Verdict
from penstock_operator.analysis.latency import measure_latency
from penstock_operator.analysis.nouns import each
from penstock_operator.analysis.traffic import NOTHING, Traffic
from penstock_operator.analysis.trial import Trial
from penstock_operator.analysis.words import factor, several
from penstock_operator.statistics.quantile import shift_over

BLOCK_S = 30.0
"""As long as the longest time between two looks. One that has too few requests to tell anything goes on."""
BLOCKS = 4
"""On end. Three would ask for one in 24 instead of one in ten; a fifth would cost another half minute to ask for one in seven."""
BUSIER = 2 * BLOCKS
"""How many blocks under more load than before are waited for: bursts that last so long are load that has come to stay."""
_UNMOVED = 1.05
"""What load made longer by a bin of a sixteenth or less, it may not have made longer at all: then more of it is no excuse."""
_LEAST = -1e6


class Counted(msgspec.Struct, rename="camel", omit_defaults=True):
    """What an arm had counted when a block began: (bin, requests) and calls."""

    latency: list[tuple[int, int]] = []
    calls: int = 0
    per_doubling: int = FINE

    @classmethod
    def of(cls, arm: Arm) -> "Counted":
        return cls(sorted(arm.latency.items()), arm.calls, arm.per_doubling)

    def since(self, arm: Arm) -> Arm:
        """The latencies that came since, in the wider bins of the two."""
        scale = min(self.per_doubling, arm.per_doubling)
        before = coarsened(dict(self.latency), self.per_doubling, scale)
        now = coarsened(arm.latency, arm.per_doubling, scale)
        came = {number: count - before.get(number, 0) for number, count in now.items() if count > before.get(number, 0)}
        return replace(arm, latency=came, calls=max(arm.calls - self.calls, 0), per_doubling=scale)


class Blocks(msgspec.Struct, rename="camel", omit_defaults=True):
    """The blocks of a stage. `since_s`: when the one under way began, in seconds in which the version got requests; `candidate`
    and `baseline`: what they had counted by then, `traffic` what had come. `complete`: how many are over, `harms`: log e-values
    of the last of them; `busier`: how many more said nothing, for the load that they had."""

    since_s: float = 0.0
    complete: int = 0
    harms: list[float] = []
    candidate: Counted = msgspec.field(default_factory=Counted)
    baseline: Counted = msgspec.field(default_factory=Counted)
    traffic: Traffic = NOTHING
    busier: int = 0

    def after(self, trial: Trial, evidence: Evidence) -> "Blocks":
        """With what is known at this look: the block under way ends if it is long enough, and could have told harm."""
        if trial.here_s - self.since_s < BLOCK_S:
            return self
        candidate, margin = self.candidate.since(evidence.candidate), trial.rollout.margins.latency_p99
        beside = [(self.baseline.since(evidence.baseline), evidence.load * margin)]
        if evidence.loaded is not None:
            beside.append((evidence.loaded, margin))
        if not _would_tell(trial, candidate, beside):
            return self
        begun = Blocks(
            trial.here_s,
            self.complete,
            self.harms,
            Counted.of(evidence.candidate),
            Counted.of(evidence.baseline),
            evidence.traffic,
            self.busier,
        )
        harm = min(_harm(trial, candidate, *one) for one in beside)
        # Not slower under more load is harmless all the more.
        if (
            harm >= _needed(trial)
            and evidence.load > _UNMOVED
            and evidence.traffic.since(self.traffic).is_more_than(evidence.usual)
        ):
            return msgspec.structs.replace(begun, busier=self.busier + 1)
        harms = [*self.harms, max(harm, _LEAST)][-BLOCKS:]
        return msgspec.structs.replace(begun, complete=self.complete + 1, harms=harms)

    @property
    def harm(self) -> float:
        """log e-value against "no longer than the margin"; 0 before there are blocks enough."""
        if len(self.harms) < BLOCKS:
            return 0.0
        first = max(self.complete - BLOCKS + 1, 1)
        return BLOCKS * min(self.harms) - log(first * (first + 1))

    def unseen(self, trial: Trial, evidence: Evidence) -> str:
        """Why harm might be there and not have lasted yet; empty where the last block shows none, or none can be told."""
        lasted = self._lasted(trial)
        if lasted:
            # The later they come the more is asked of them together.
            then = f"after {BLOCKS} it is rolled back" if lasted < BLOCKS else "not yet surely enough to roll it back"
            return (
                f"the latency of {trial.candidate} has been over the margin of {factor(trial.rollout.margins.latency_p99)} for"
                f" {several(lasted, 'half minute')} on end{self.of_usual(trial)}; {then}"
            )
        if self.busier and not self.complete:
            if self.busier >= BUSIER:
                return ""
            return (
                f"{trial.candidate} has had more requests a second for {several(self.busier, 'half minute')} than"
                f" {trial.baseline} when it had most of them, and is slower, which may be for that alone; after {BUSIER} it is"
                " no longer waited for fewer"
            )
        ours, theirs = (sum(arm.latency.values()) for arm in (evidence.candidate, evidence.baseline))
        if self.complete or not ours or not theirs or trial.here_s < BLOCK_S:
            return ""
        of_each = each(evidence.candidate, evidence.baseline)
        return (
            f"the latencies of {several(ours, 'request')} to {trial.candidate} and {several(theirs, 'request')} to"
            f" {trial.baseline}{of_each}{',' if of_each else ''} are too few to tell even a version that takes twice the margin"
            " as long"
        )

    def of_usual(self, trial: Trial) -> str:
        """Which blocks are meant; empty if all are."""
        return f", of those with no more requests a second than {trial.baseline} had" if self.busier else ""

    def _lasted(self, trial: Trial) -> int:
        """How many of the last blocks show harm, on end."""
        needed = _needed(trial)
        return next((place for place, harm in enumerate(reversed(self.harms)) if harm < needed), len(self.harms))


def measure_lasting(trial: Trial, evidence: Evidence, blocks: Blocks) -> Measured | None:
    """The test with all requests, in words of the whole stage; None before there are any."""
    whole = measure_latency(trial, evidence)
    if whole is None:
        return None

    def describe(verdict: Verdict) -> str:
        words = whole.describe(verdict)
        if verdict is not Verdict.HARMFUL:
            return words
        words = f"{words}; it is over the margin in each of the last {BLOCKS} half minutes{blocks.of_usual(trial)}"
        return words if evidence.loaded is None else f"{words}, beside {trial.baseline} as it was with most of the requests, too"

    return replace(whole, harm=blocks.harm, describe=describe)


def _needed(trial: Trial) -> float:
    """Of a block that shows harm, the log e-value at least."""
    return harm_threshold(trial, LATENCY) / BLOCKS


def _harm(trial: Trial, candidate: Arm, baseline: Arm, margin: float) -> float:
    margins = msgspec.structs.replace(trial.rollout.margins, latency_p99=margin)
    other = replace(trial, rollout=msgspec.structs.replace(trial.rollout, margins=margins))
    measured = measure_latency(other, Evidence(candidate=candidate, baseline=baseline))
    return 0.0 if measured is None else measured.harm


def _would_tell(trial: Trial, candidate: Arm, beside: Sequence[tuple[Arm, float]]) -> bool:
    """Whether in as many requests a version that takes twice the margin as long would show, beside each arm by its margin."""
    if not candidate.latency or not all(arm.latency for arm, _ in beside):
        return False
    return all(_harm(trial, _slowed(arm, margin, candidate), arm, margin) >= _needed(trial) for arm, margin in beside)


def _slowed(arm: Arm, margin: float, like: Arm) -> Arm:
    """An arm's latencies, twice the margin as long and of as many observations as another arm has."""
    further = shift_over(margin, arm.per_doubling) + arm.per_doubling
    total, wanted = sum(arm.latency.values()), sum(like.latency.values())
    alone = max(round(weight_of(wanted, like.calls) * wanted), 1)
    # At least as many, of which each counts for less.
    times = -(-alone // total)
    latency = {number + further: times * count for number, count in arm.latency.items()}
    return replace(like, latency=latency, calls=alone, per_doubling=arm.per_doubling)

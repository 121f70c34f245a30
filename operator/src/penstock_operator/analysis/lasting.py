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
version of which eight blocks on end said nothing goes on without: that much more load has come to stay, and what fewer than
`BLOCKS` said before it is no harm that lasts.

Theorem. A product of e-values of disjoint blocks is one, if each has a mean of at most 1 whatever came before, and
however many requests came in it. A block is left out for its load and for what it shows: if it is busier, and its e-value is
beyond what is asked of a block. That puts a factor of 1 in place of one that is greater than 1, which makes no product greater
than it was. With a part of 1 / (j (j + 1)) of the capital staked on harm once j - 1 of the blocks that count are over, the sum
over all j is an e-process; what is given here is at most its term for the last `BLOCKS`.

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
from penstock_operator.analysis.words import factor, per_s, several
from penstock_operator.statistics.quantile import shift_over

BLOCK_S = 30.0
"""As long as the longest time between two looks. One that has too few requests to tell anything goes on."""
BLOCKS = 4
"""On end. Three would ask for one in 24 instead of one in ten; a fifth would cost another half minute to ask for one in seven."""
BUSIER = 2 * BLOCKS
"""How many blocks on end under more load than before are waited for: bursts that last so long are load that has come to stay."""
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
    of the last of them; `busier`: how many more said nothing, for the load that they had. `busier_on_end`: how many of these came
    after the last of the others, `busier_traffic`: what came in them."""

    since_s: float = 0.0
    complete: int = 0
    harms: list[float] = []
    candidate: Counted = msgspec.field(default_factory=Counted)
    baseline: Counted = msgspec.field(default_factory=Counted)
    traffic: Traffic = NOTHING
    busier: int = 0
    busier_on_end: int = 0
    busier_traffic: Traffic = NOTHING

    def after(self, trial: Trial, evidence: Evidence) -> "Blocks":
        """With what is known at this look: the block under way ends if it is long enough, and could have told harm."""
        if trial.here_s - self.since_s < BLOCK_S:
            return self
        candidate, margin = self.candidate.since(evidence.candidate), trial.rollout.margins.latency_p99
        compared = [(self.baseline.since(evidence.baseline), evidence.load * margin)]
        if evidence.loaded is not None:
            compared.append((evidence.loaded, margin))
        if not _would_tell(trial, candidate, compared):
            return self
        begun = msgspec.structs.replace(
            self,
            since_s=trial.here_s,
            candidate=Counted.of(evidence.candidate),
            baseline=Counted.of(evidence.baseline),
            traffic=evidence.traffic,
        )
        harm = min(_harm(trial, candidate, *one) for one in compared)
        came = evidence.traffic.since(self.traffic)
        # Not slower under more load is harmless all the more.
        if harm >= _needed(trial) and evidence.load > _UNMOVED and came.is_more_than(evidence.usual_requests_per_s):
            return msgspec.structs.replace(
                begun,
                busier=self.busier + 1,
                busier_on_end=self.busier_on_end + 1,
                busier_traffic=self.busier_traffic.and_of(came),
            )
        harms = [*self.harms, max(harm, _LEAST)][-BLOCKS:]
        return msgspec.structs.replace(begun, complete=self.complete + 1, harms=harms, busier_on_end=0, busier_traffic=NOTHING)

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
        if self._is_excused(trial):
            return "" if self._is_waived(trial) else self._excused(trial, evidence, lasted)
        if lasted:
            # The later they come the more is asked of them together.
            then = f"after {BLOCKS} it is rolled back" if lasted < BLOCKS else "not yet surely enough to roll it back"
            return (
                f"the latency of {trial.candidate} has been over the margin of {factor(trial.rollout.margins.latency_p99)} for"
                f" {several(lasted, 'half minute')} on end{self.of_usual(trial)}; {then}"
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

    def is_open(self, trial: Trial) -> bool:
        """Whether there may be harm: the last block that tells anything shows it, or there is none, for the load."""
        return self._lasted(trial) > 0 or self._is_excused(trial)

    def not_compared(self, trial: Trial, evidence: Evidence) -> str:
        """The sentence of a version that goes on though the last blocks said nothing; empty of one that was compared."""
        if not self._is_waived(trial):
            return ""
        return (
            f"Latency was not compared for {several(self.busier_on_end, 'half minute')} on end, because"
            f" {per_s(self.busier_traffic.requests_per_s)} came, against {per_s(evidence.usual_requests_per_s)} when"
            f" {trial.baseline} had most of them: it is over the margin of {factor(trial.rollout.margins.latency_p99)}, which may"
            " be for the load."
        )

    def of_usual(self, trial: Trial) -> str:
        """Which blocks are meant; empty if all are."""
        return f", of those with no more requests a second than {trial.baseline} had" if self.busier else ""

    def _is_excused(self, trial: Trial) -> bool:
        """Whether the last block said nothing, for its load, and none has shown the absence of harm just before."""
        return self.busier_on_end > 0 and (not self.complete or self._lasted(trial) > 0)

    def _is_waived(self, trial: Trial) -> bool:
        """Whether usual load is no longer waited for."""
        return self._is_excused(trial) and self.busier_on_end >= BUSIER and self._lasted(trial) < BLOCKS

    def _excused(self, trial: Trial, evidence: Evidence, lasted: int) -> str:
        """Why a version waits for usual load, and what will come of it."""
        before = f"{several(lasted, 'half minute')} and then for " if lasted else ""
        lives = "it goes live after a half minute that is not over the margin"
        if lasted < BLOCKS:
            then = (
                f"{lives}, or after {BUSIER} on end under such load, and is rolled back after {BLOCKS} over it under usual load"
            )
        else:
            then = f"{lives}, and is rolled back once more of them under usual load have made it sure"
        return (
            f"the latency of {trial.candidate} has been over the margin of {factor(trial.rollout.margins.latency_p99)} for"
            f" {before}{several(self.busier_on_end, 'half minute')} on end under more load than {trial.baseline} had with most of"
            f" the requests ({per_s(self.busier_traffic.requests_per_s)} against {per_s(evidence.usual_requests_per_s)}), which"
            f" may be why; {then}"
        )

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


def _would_tell(trial: Trial, candidate: Arm, compared: Sequence[tuple[Arm, float]]) -> bool:
    """Whether in as many requests a version that takes twice the margin as long would show, beside each arm by its margin."""
    if not candidate.latency or not all(arm.latency for arm, _ in compared):
        return False
    return all(_harm(trial, _slowed(arm, margin, candidate), arm, margin) >= _needed(trial) for arm, margin in compared)


def _slowed(arm: Arm, margin: float, like: Arm) -> Arm:
    """An arm's latencies, twice the margin as long and of as many observations as another arm has."""
    further = shift_over(margin, arm.per_doubling) + arm.per_doubling
    total, wanted = sum(arm.latency.values()), sum(like.latency.values())
    alone = max(round(weight_of(wanted, like.calls) * wanted), 1)
    # At least as many, of which each counts for less.
    times = -(-alone // total)
    latency = {number + further: times * count for number, count in arm.latency.items()}
    return replace(like, latency=latency, calls=alone, per_doubling=arm.per_doubling)

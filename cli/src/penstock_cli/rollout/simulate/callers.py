"""Callers who come again and again under one route key: where each belongs, when it counts, how fast and with which answers.

    Weather.sticky --whose they are: by key, or, of copies, by key and minute--> requests [slots, callers]
        --Conduct of the version--> Counts: keys as `penstock_transformer.evidence.keys` has them

They are drawn one by one, since all requests of a key go to one version, have their minute in common, and are no independent
trials: of latency and of outputs a key's first request in a minute says something, and no other.

Invariant: a key counts once a minute in an arm until one of its requests fails: then no more under this weight; where one version
answers everything, until the minute is over.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from penstock.evidence.adding import callers_since
from penstock.evidence.callers import CallerSums
from penstock.evidence.scales import LATENCY_HALVES, half_bounds_s, latency_half
from penstock_cli.rollout.simulate.counts import LABEL, SCORE, SCORE_BINS, Counts
from penstock_cli.rollout.simulate.faults import Fault
from penstock_cli.rollout.simulate.service import (
    Service,
    latency_shares,
    normal_quantiles,
    normal_shares,
    output_shares,
    positive_share,
)
from penstock_cli.rollout.simulate.traffic import SLOT_S, Sticky, Weather

WINDOW_S = 60
"""A route key counts once in so long."""
STABLE, CANDIDATE, PAIRS = 0, 1, 2
"""What keys are counted in: the arms, and pairs of an answer and a shadow's."""


@dataclass(frozen=True)
class Conduct:
    """How a version does in a while: its own chance of failing a request, and, float [slots], how slow it is."""

    errors: float
    slowness: NDArray[np.float64]
    fault: Fault
    is_candidate: bool

    def distance(self, service: Service) -> float:
        """How far its outputs are from the usual (total variation)."""
        return min(service.drift + self.fault.scores, 1.0) if self.is_candidate else 0.0


@dataclass(frozen=True)
class Fates:
    """What became of callers' requests, int [slots, callers]. `shared` failed whatever served them, and are among the `failed`;
    `late` is the part of those that failed otherwise which were late, rather than broken."""

    requests: NDArray[np.int64]
    shared: NDArray[np.int64]
    failed: NDArray[np.int64]
    late: NDArray[np.float64]


Answered = tuple[NDArray[np.intp], list[int], NDArray[np.intp], NDArray[np.intp]]
"""Callers, and of each its latency by half a bin, its score by bin, its label."""


@dataclass
class Pairing:
    """How many keys had pairs; of those whose first pair was answered by both, how many and with other labels; and how many had
    one that failed in both, in the shadow alone, in the answer alone."""

    keys: int = 0
    good: int = 0
    differing: int = 0
    both: int = 0
    shadow: int = 0
    answer: int = 0


class Callers:
    """The sticky callers of one trace, of none if its traffic has none."""

    def __init__(self, own: Sticky, service: Service, weather: Weather, seed: int) -> None:
        self._own, self._service, self._weather, self._seed = own, service, weather, seed
        self.number = int(weather.sticky.shape[1])
        rng = np.random.default_rng([seed, 3])
        self._speeds = own.slower * np.exp(own.spread * rng.standard_normal(self.number))
        # Where each one's own score and label lie among all: a version that moves its answers moves these with them.
        self._score, self._label, self._other = rng.random((3, self.number))
        # The minutes in which each last counted in each arm and among pairs, and failed there under this weight.
        self._counted, self._failed = np.full((2, 3, self.number), -1)
        self._stick = False
        self._broken = np.random.default_rng([seed, 4]).random(self.number) < own.broken
        self._keys = [f"caller {number}".encode() for number in range(self.number)]
        self._sums: dict[int, CallerSums] = {}

    def begin(self, *, stick: bool) -> None:
        """Another revision of the route: all count anew. `stick`: to one of two versions, so that it is told who they are."""
        self._stick = stick
        self._counted.fill(-1)
        self._failed.fill(-1)
        self._sums = {arm: CallerSums() for arm in (STABLE, CANDIDATE)} if stick else {}

    def of_arm(self, low: float, high: float) -> NDArray[np.bool_]:
        """Those whose key falls between, bool [callers]."""
        return (self._weather.places >= low) & (self._weather.places < high)

    def copied(self, slots: slice, fraction: float) -> NDArray[np.bool_]:
        """Whose requests are copied when, bool [slots, callers]: all of a key's in a minute, or none."""
        found = np.zeros((slots.stop - slots.start, self.number), np.bool_)
        last, drawn = -1, np.zeros(self.number, np.bool_)
        for place in range(len(found)):
            minute = (slots.start + place) * SLOT_S // WINDOW_S
            if minute != last:
                last, draws = minute, np.random.default_rng([self._seed, 2, minute]).random(self.number)
                drawn[:] = draws < fraction
            found[place] = drawn
        return found

    def fall(self, slots: slice, mine: NDArray[np.bool_], conduct: Conduct, rng: np.random.Generator) -> Fates:
        """What becomes of the requests of `mine`, bool [callers] or [slots, callers]."""
        requests = self._weather.sticky[slots] * mine
        spells = np.maximum(self._own.failing * self._weather.spells[slots], self._broken)
        shared = rng.binomial(requests, 1 - (1 - self._weather.failing[slots, None]) * (1 - spells))
        return self.fall_alone(Fates(requests, shared, shared, np.zeros(requests.shape)), conduct, rng)

    def fall_alone(self, fates: Fates, conduct: Conduct, rng: np.random.Generator) -> Fates:
        """The same requests, served by another version: what fails whatever serves it has failed."""
        late = (1 - conduct.errors) * self._late(conduct)
        chance = conduct.errors + late
        failed = fates.shared + rng.binomial(fates.requests - fates.shared, chance)
        return Fates(fates.requests, fates.shared, failed, late / np.maximum(chance, 1e-12))

    def _late(self, conduct: Conduct) -> NDArray[np.float64]:
        """The chance that a request has its answer too late, [slots, callers]."""
        if self._service.late_bin >= LATENCY_HALVES:
            return np.zeros((len(conduct.slowness), self.number))
        usual, slow = (normal_shares(self._room(conduct, factor)) for factor in (1.0, conduct.fault.latency))
        part = conduct.fault.slow_share
        return 1 - (1 - part) * usual - part * slow

    def _room(self, conduct: Conduct, factor: float) -> NDArray[np.float64]:
        """How far the deadline is from the middle of the latencies, in their spread, [slots, callers]."""
        deadline_s = half_bounds_s(self._service.late_bin)[0]
        usual_s = self._service.median_s * factor * conduct.slowness[:, None] * self._speeds
        found: NDArray[np.float64] = np.log(deadline_s / usual_s) / self._service.spread
        return found

    def count(self, arm: int, slots: slice, fates: Fates, conduct: Conduct, rng: np.random.Generator) -> Counts:
        """What transformers count of these requests in this arm: STABLE or CANDIDATE."""
        counts = Counts(requests=int(fates.requests.sum()), errors=int(fates.failed.sum()))
        if not counts.requests:
            return counts
        sums = self._sums.get(arm)
        before = sums.told() if sums is not None else None
        for place, slot in enumerate(range(slots.start, slots.stop)):
            new, falling = self._counted_in(arm, slot, fates.requests[place], fates.failed[place])
            counts.keys += len(new)
            counts.failed_keys += len(falling)
            marks = self._watch(sums, new, falling)
            if len(new):
                answered = self._first(counts, new, place, fates, conduct, rng)
                if sums is not None:
                    _compare(sums, marks, *answered)
        if sums is not None:
            counts.callers = callers_since(sums.told(), before)
        late = rng.binomial(fates.failed - fates.shared, fates.late).sum(axis=1)
        counts.late = int(late.sum())
        self._all(counts, fates, late, conduct, rng)
        return counts

    def pair(self, slots: slice, fates: Fates, lost: NDArray[np.int64], conduct: Conduct, rng: np.random.Generator) -> Pairing:
        """What transformers count of pairs by key: of copies with these fates the answer failed, too or alone, of so many `lost`,
        int [slots, callers]."""
        found = Pairing()
        share, own = self.differing(conduct), self._own.own
        for place, slot in enumerate(range(slots.start, slots.stop)):
            requests, shadow, answer = fates.requests[place], fates.failed[place], lost[place]
            fell = np.maximum(shadow, answer)
            new, falling = self._counted_in(PAIRS, slot, requests, fell)
            good = new[rng.random(len(new)) * requests[new] >= fell[new]]
            other = np.where(rng.random(len(good)) < own, self._other[good], rng.random(len(good))) < share
            found.keys += len(new)
            found.differing += int(other.sum())
            found.good += len(good)
            # The first that failed: of one half or both.
            both = np.minimum(shadow, answer)[falling]
            drawn = rng.random(len(falling)) * fell[falling]
            found.both += int((drawn < both).sum())
            found.answer += int(((drawn >= both) & (answer > shadow)[falling]).sum())
            found.shadow += int(((drawn >= both) & (answer <= shadow)[falling]).sum())
        return found

    def _counted_in(
        self, arm: int, slot: int, requests: NDArray[np.int64], fell: NDArray[np.int64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The callers who count in this slot as new in their minute, and those who fail for the first time."""
        counted, failed, minute = self._counted[arm], self._failed[arm], slot * SLOT_S // WINDOW_S
        here = (requests > 0) & (failed < (0 if self._stick else minute))
        new = np.flatnonzero(here & (counted < minute))
        counted[new] = minute
        falling = np.flatnonzero(here & (fell > 0))
        failed[falling] = minute
        return new, falling

    def _watch(self, sums: CallerSums | None, new: NDArray[np.intp], falling: NDArray[np.intp]) -> dict[int, int]:
        """Count these callers; the marks of those that are watched, by number."""
        if sums is None:
            return {}
        marks = {}
        for number in new.tolist():
            sums.count(self._keys[number])
            if sums.mark is not None:
                marks[number] = sums.mark
        for number in falling.tolist():
            sums.fail(self._keys[number])
        return marks

    def _first(
        self, counts: Counts, new: NDArray[np.intp], place: int, fates: Fates, conduct: Conduct, rng: np.random.Generator
    ) -> Answered:
        """Latency, score and label of the first request of these callers in their minute."""
        service, fault = self._service, conduct.fault
        fell, shared, requests = fates.failed[place, new], fates.shared[place, new], fates.requests[place, new]
        fate = rng.random(len(new)) * requests
        alone = (fate >= shared) & (fate < fell)
        if alone.any():
            late = int((rng.random(len(new)) < fates.late[place, new])[alone].sum())
            counts.latency[min(service.late_bin, LATENCY_HALVES - 1)] += late
        good = new[fate >= fell]
        if not len(good):
            return good, [], good, good
        factor = np.where(rng.random(len(good)) < fault.slow_share, fault.latency, 1.0)
        usual_s = service.median_s * conduct.slowness[place] * factor * self._speeds[good]
        drawn = rng.random(len(good))
        if service.late_bin < LATENCY_HALVES:
            drawn *= normal_shares(np.log(half_bounds_s(service.late_bin)[0] / usual_s) / service.spread)
        halves = [latency_half(s) for s in (usual_s * np.exp(service.spread * normal_quantiles(drawn))).tolist()]
        for half in halves:
            counts.latency[half] += 1
        return good, halves, *self._answers(counts, good, conduct, rng)

    def _answers(
        self, counts: Counts, good: NDArray[np.intp], conduct: Conduct, rng: np.random.Generator
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Scores by bin, and labels."""
        edges = np.cumsum(output_shares(conduct.distance(self._service)))
        own = rng.random(len(good)) < self._own.own
        places = np.where(own, self._score[good], rng.random(len(good)))
        bins = np.minimum(np.searchsorted(edges, places, side="right"), SCORE_BINS - 1)
        counts.outputs += np.bincount(bins, minlength=SCORE_BINS)
        usual = positive_share(self._service, Fault(), is_candidate=False)
        positive = np.where(own, self._label[good], rng.random(len(good))) < usual
        swapped = np.where(own, self._other[good], rng.random(len(good))) < self.differing(conduct)
        labels = positive ^ swapped
        counts.positives += int(labels.sum())
        return bins, labels.astype(np.intp)

    def differing(self, conduct: Conduct) -> float:
        """The share of requests to which this version gives another label than the version before."""
        return min(self._service.disagreement + conduct.fault.labels, 1.0) if conduct.is_candidate else 0.0

    def _all(self, counts: Counts, fates: Fates, late: NDArray[np.int64], conduct: Conduct, rng: np.random.Generator) -> None:
        """Latencies of all their requests; of callers who differ in speed, as if each request were another's."""
        good = (fates.requests - fates.failed).sum(axis=1)
        if not good.sum():
            return
        mixed = replace(self._service, spread=float(np.hypot(self._service.spread, self._own.spread)))
        shares = latency_shares(mixed, conduct.slowness * self._own.slower, conduct.fault.latency, conduct.fault.slow_share)
        counts.all_latency = drawn_latencies(good, int(late.sum()), shares, self._service.late_bin, rng)


def _compare(
    sums: CallerSums, marks: dict[int, int], good: NDArray[np.intp], halves: list[int], *answers: NDArray[np.intp]
) -> None:
    """What the watched ones of these callers got, beside what they got before. `answers`: scores and labels."""
    watched = [(place, marks[number]) for place, number in enumerate(good.tolist()) if number in marks]
    for place, mark in watched:
        sums.take(mark, halves[place] >> 1)
    for name, told in zip((SCORE, LABEL), answers, strict=True):
        sums.answer(name, [mark for _, mark in watched], [int(told[place]) for place, _ in watched])


def drawn_latencies(
    good: NDArray[np.int64], late: int, shares: NDArray[np.float64], late_bin: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Latencies int [320] of so many good answers by slot, of these shares float [slots, 320] before the deadline, and of so
    many that their deadline ended."""
    mixed = good @ shares
    mixed[late_bin:] = 0.0
    total, sum_of_all = int(good.sum()), float(mixed.sum())
    found: NDArray[np.int64] = np.zeros(LATENCY_HALVES, np.int64)
    if total and sum_of_all:
        found = rng.multinomial(total, mixed / sum_of_all)
    if late:
        found[late_bin] += late
    return found

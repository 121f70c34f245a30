"""One made stretch of traffic, split between two versions as the route says.

    Weather --shares of the route--> requests of each arm --Service, Fault--> Counts(stable), Counts(candidate), Counts(shadow)

What comes, and when, follows from the seed alone; what becomes of it also from the share that the rules gave the candidate.
Counts are drawn by slot and arm, not by request: binomials and multinomials have the same distribution and a thousandth of
the cost. Sticky callers are drawn one by one, since all requests of a key go to one arm and fail together.

Invariant: a key counts once a minute in an arm until one of its requests fails, and as failed once under a weight.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from penstock.evidence.scales import RATIO_BINS
from penstock_cli.rollout.simulate.counts import Counts, Paired
from penstock_cli.rollout.simulate.faults import Fault
from penstock_cli.rollout.simulate.service import (
    Service,
    difference_shares,
    latency_shares,
    output_shares,
    positive_share,
    ratio_shares,
)
from penstock_cli.rollout.simulate.traffic import SLOT_S, Sticky, Traffic, Weather, weather

WINDOW_S = 60
"""A route key counts once in so long."""
_WARM_S = 20.0
"""How fast a cold pod warms up."""


@dataclass(frozen=True)
class Scenario:
    """Everything that a trace follows from, but for the seed."""

    traffic: Traffic = field(default_factory=Traffic)
    service: Service = field(default_factory=Service)
    fault: Fault = field(default_factory=Fault)


@dataclass(frozen=True)
class Shares:
    """What the route gives the candidate: per cent of requests, and the fraction that is copied to it as a shadow. `beside`: with
    all requests, the fraction that is copied to the stable version. `baseline`: the stable version is counted in fresh pods
    alone, which get as many requests as the candidate; for a weight of at most 50."""

    weight: int = 0
    shadow: float = 0.0
    beside: float = 0.0
    baseline: bool = False


@dataclass
class Seen:
    """What was counted in a while: what each version answered, and the candidate's shadow copies."""

    stable: Counts
    candidate: Counts
    shadow: Counts


class Trace:
    """Traffic of one simulated rollout, asked for while after while, each later than the one before."""

    def __init__(self, scenario: Scenario, seconds: float, seed: int) -> None:
        self.scenario = scenario
        self._seed = seed
        self._weather: Weather = weather(scenario.traffic, seconds, seed)
        callers = self._weather.sticky.shape[1]
        # The minute in which a sticky caller last counted in each arm, and whether it has failed there under this weight.
        self._counted = np.full((2, callers), -1)
        self._failed = np.zeros((2, callers), np.bool_)
        self._weight = -1

    @property
    def seconds(self) -> float:
        return self._weather.slots * SLOT_S

    def between(self, start_s: float, end_s: float, shares: Shares) -> Seen:
        """What is counted from start to end, both multiples of SLOT_S; at most all that the trace has."""
        if shares.weight != self._weight:
            # Another revision of the route.
            self._weight, self._failed = shares.weight, np.zeros_like(self._failed)
        slots = slice(int(start_s // SLOT_S), min(int(end_s // SLOT_S), self._weather.slots))
        # Of this while alone, so that rules that look at other times have the same arrivals.
        rng = np.random.default_rng([self._seed, 1, slots.start])
        fault = self.scenario.fault.at(shares.weight)
        here = self._weather.requests[slots]
        mine = rng.binomial(here, shares.weight / 100)
        theirs = rng.binomial(here, shares.beside) if shares.beside else here - mine
        if shares.baseline:
            theirs = rng.binomial(theirs, shares.weight / (100 - shares.weight))
        # Fresh pods are as cold as the candidate's.
        usual = replace(Fault(), errors=fault.stable_errors, cold=fault.cold if shares.baseline else 1.0)
        stable = self._arm(0, theirs, slots, shares, usual, rng)
        candidate = self._arm(1, mine, slots, shares, fault, rng)
        return Seen(stable, candidate, self._shadow(here - mine, slots, shares, fault, rng))

    def _arm(
        self, arm: int, requests: NDArray[np.int64], slots: slice, shares: Shares, fault: Fault, rng: np.random.Generator
    ) -> Counts:
        failing = self._failing(slots, fault)
        errors = rng.binomial(requests, failing)
        counts = Counts(keys=int(requests.sum()), failed_keys=int(errors.sum()))
        sticky, failed = self._sticky(arm, slots, shares, failing, rng)
        counts.keys += sticky.keys
        counts.failed_keys += sticky.failed_keys
        self._answer(counts, requests + failed[0], errors + failed[1], slots, fault, arm == 1, rng)
        return counts

    def _shadow(
        self, requests: NDArray[np.int64], slots: slice, shares: Shares, fault: Fault, rng: np.random.Generator
    ) -> Counts:
        """Copies of what the stable version answers; what befalls both befalls both of the same request."""
        counts = Counts()
        if not shares.shadow:
            return counts
        here = rng.binomial(requests + self._weather.sticky[slots].sum(axis=1), shares.shadow)
        both = rng.binomial(here, self._weather.failing[slots])
        own = self.scenario.service.errors
        shadow = rng.binomial(here - both, min(own + fault.errors, 1.0))
        answer = rng.binomial(here - both - shadow, min(own + fault.stable_errors, 1.0))
        counts.keys, counts.failed_keys = int(here.sum()), int((both + shadow).sum())
        self._answer(counts, here, both + shadow, slots, fault, True, rng)
        counts.paired = self._pairs(counts.keys, int(both.sum()), int(shadow.sum()), int(answer.sum()), fault, rng)
        return counts

    def _pairs(self, pairs: int, both: int, shadow: int, answer: int, fault: Fault, rng: np.random.Generator) -> Paired:
        """Pairs of which so many failed in both, in the shadow alone, in the answer alone."""
        good = pairs - both - shadow - answer
        service = self.scenario.service
        agreeing = int(rng.binomial(good, 1 - min(service.disagreement + fault.labels, 1.0)))
        ratios = rng.multinomial(good, ratio_shares(service, fault))
        return Paired(
            pairs,
            agreeing,
            good - agreeing,
            # Bin 80 begins at equal latencies.
            int(ratios[RATIO_BINS // 2 :].sum()),
            shadow,
            answer,
            both,
            rng.multinomial(good, difference_shares(fault)),
            ratios,
        )

    def _answer(
        self,
        counts: Counts,
        requests: NDArray[np.int64],
        errors: NDArray[np.int64],
        slots: slice,
        fault: Fault,
        is_candidate: bool,
        rng: np.random.Generator,
    ) -> None:
        """Requests, errors, latencies and outputs, added to the counts."""
        counts.requests, counts.errors = int(requests.sum()), int(errors.sum())
        good = requests - errors
        total = int(good.sum())
        if not total:
            return
        shares = latency_shares(self.scenario.service, self._slowness(slots, fault), fault.latency, fault.slow_share)
        mixed = good @ shares
        counts.latency = rng.multinomial(total, mixed / mixed.sum())
        distance = self.scenario.service.drift + fault.scores if is_candidate else 0.0
        counts.outputs = rng.multinomial(total, output_shares(min(distance, 1.0)))
        counts.positives = int(rng.binomial(total, positive_share(self.scenario.service, fault, is_candidate=is_candidate)))

    def _failing(self, slots: slice, fault: Fault) -> NDArray[np.float64]:
        """Chance of failure by slot: its own, the fault's, or that of an outage."""
        own = min(self.scenario.service.errors + fault.errors, 1.0)
        return 1 - (1 - own) * (1 - self._weather.failing[slots])

    def _slowness(self, slots: slice, fault: Fault) -> NDArray[np.float64]:
        slowness = self._weather.slowness[slots]
        if fault.cold == 1:
            return slowness
        age_s = (np.arange(slots.start, slots.start + len(slowness)) + 0.5) * SLOT_S
        return slowness * (1 + (fault.cold - 1) * np.exp(-age_s / _WARM_S))

    def _sticky(
        self, arm: int, slots: slice, shares: Shares, failing: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[Counts, NDArray[np.int64]]:
        """Keys of sticky callers in this arm, and int [2, slots]: their requests, and those that failed."""
        counts = Counts()
        here = self._weather.sticky[slots]
        sums = np.zeros((2, len(here)), np.int64)
        places, part = self._weather.places, shares.weight / 100
        mine = (places < part) == bool(arm)
        if shares.baseline and not arm:
            mine &= places < 2 * part
        if not mine.any():
            return counts, sums
        own: Sticky = self.scenario.traffic.sticky
        requests = here * mine
        chance = 1 - (1 - failing[:, None]) * (1 - own.failing * self._weather.spells[slots])
        failed = rng.binomial(requests, chance)
        for place in range(len(here)):
            minute = math.floor((slots.start + place) * SLOT_S / WINDOW_S)
            counting = (requests[place] > 0) & ~self._failed[arm]
            counts.keys += _newly(counting, self._counted[arm], minute)
            fell = counting & (failed[place] > 0)
            counts.failed_keys += int(fell.sum())
            self._failed[arm] |= fell
        sums[0], sums[1] = requests.sum(axis=1), failed.sum(axis=1)
        return counts, sums


def _newly(here: NDArray[np.bool_], last: NDArray[np.int64], minute: int) -> int:
    """How many of `here` have not counted in this minute yet; they have now."""
    new = here & (last < minute)
    last[new] = minute
    return int(new.sum())

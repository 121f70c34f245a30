"""One made stretch of traffic, split between two versions as the route says.

    Weather --shares of the route--> requests of each arm --Service, Fault--> Counts(stable), Counts(candidate), Counts(shadow)

What comes, and when, follows from the seed alone; what becomes of it also from the share that the rules gave the candidate.
Counts are drawn by slot and arm, not by request: binomials and multinomials have the same distribution and a thousandth of
the cost. Callers who stick to a version are drawn one by one (`callers`).
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from penstock.evidence.scales import LATENCY_HALVES, RATIO_HALVES
from penstock_cli.rollout.simulate.callers import CANDIDATE, STABLE, Callers, Conduct, Fates, drawn_latencies
from penstock_cli.rollout.simulate.counts import Counts, Paired
from penstock_cli.rollout.simulate.faults import Fault
from penstock_cli.rollout.simulate.service import (
    Service,
    difference_shares,
    latency_shares,
    output_shares,
    positive_share,
    queueing,
    ratio_shares,
)
from penstock_cli.rollout.simulate.traffic import SLOT_S, Traffic, Weather, weather


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
        self._callers = Callers(scenario.traffic.sticky, scenario.service, self._weather, seed)
        self._weight = -1

    @property
    def seconds(self) -> float:
        return self._weather.slots * SLOT_S

    def between(self, start_s: float, end_s: float, shares: Shares) -> Seen:
        """What is counted from start to end, both multiples of SLOT_S; at most all that the trace has."""
        if shares.weight != self._weight:
            # Another revision of the route.
            self._weight = shares.weight
            self._callers.begin(stick=0 < shares.weight < 100)
        slots = slice(int(start_s // SLOT_S), min(int(end_s // SLOT_S), self._weather.slots))
        # Of this while alone, so that rules that look at other times have the same arrivals.
        rng = np.random.default_rng([self._seed, 1, slots.start])
        part = shares.weight / 100
        here = self._weather.requests[slots]
        mine = rng.binomial(here, part)
        theirs = rng.binomial(here, shares.beside) if shares.beside else here - mine
        if shares.baseline:
            theirs = rng.binomial(theirs, part / (1 - part))
        callers = self._callers
        ours_too = callers.of_arm(0.0, part)
        if shares.beside:
            theirs_too = callers.copied(slots, shares.beside)
        else:
            theirs_too = callers.of_arm(part, 2 * part if shares.baseline else 1.0)
        fault = self.scenario.fault.at(shares.weight)
        # Fresh pods are as cold as the candidate's.
        usual = replace(Fault(), errors=fault.stable_errors, cold=fault.cold if shares.baseline else 1.0, warm_s=fault.warm_s)
        stable_load = shares.beside or (part if shares.baseline else 1 - part)
        stable = self._conduct(slots, usual, stable_load, theirs_too, is_candidate=False)
        candidate = self._conduct(slots, fault, part or shares.shadow, ours_too, is_candidate=True)
        return Seen(
            self._arm(STABLE, theirs, theirs_too, slots, stable, rng),
            self._arm(CANDIDATE, mine, ours_too, slots, candidate, rng),
            self._shadow(here - mine, slots, shares.shadow, candidate, stable, rng) if shares.shadow else Counts(),
        )

    def _conduct(self, slots: slice, fault: Fault, part: float, callers: NDArray[np.bool_], *, is_candidate: bool) -> Conduct:
        """How a version does that has this part of the requests of those who come once, and of all others' these callers'."""
        service, sticky = self.scenario.service, self.scenario.traffic.sticky.share if self._callers.number else 0.0
        slowness = self._weather.slowness[slots]
        if fault.cold != 1:
            age_s = (np.arange(slots.start, slots.start + len(slowness)) + 0.5) * SLOT_S
            slowness = slowness * (1 + (fault.cold - 1) * np.exp(-age_s / fault.warm_s))
        if service.utilisation:
            load = (1 - sticky) * part + (sticky * float(callers.mean()) if sticky else 0.0)
            slowness = slowness * queueing(service, load * self._weather.rate[slots])
        return Conduct(min(service.errors + fault.errors, 1.0), slowness, fault, is_candidate)

    def _arm(
        self,
        arm: int,
        requests: NDArray[np.int64],
        callers: NDArray[np.bool_],
        slots: slice,
        conduct: Conduct,
        rng: np.random.Generator,
    ) -> Counts:
        broken = rng.binomial(requests, 1 - (1 - conduct.errors) * (1 - self._weather.failing[slots]))
        shares = self._latencies(conduct)
        late = rng.binomial(requests - broken, self._late(shares))
        counts = self._lone(requests, broken, late, shares, conduct, rng)
        if callers.any():
            fates = self._callers.fall(slots, callers, conduct, rng)
            counts += self._callers.count(arm, slots, fates, conduct, rng)
        return counts

    def _latencies(self, conduct: Conduct) -> NDArray[np.float64]:
        return latency_shares(self.scenario.service, conduct.slowness, conduct.fault.latency, conduct.fault.slow_share)

    def _late(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """The chance that an answer is too late, by slot."""
        late_bin = self.scenario.service.late_bin
        if late_bin >= LATENCY_HALVES:
            return np.zeros(len(shares))
        found: NDArray[np.float64] = np.clip(shares[:, late_bin:].sum(axis=1), 0.0, 1.0)
        return found

    def _lone(
        self,
        requests: NDArray[np.int64],
        broken: NDArray[np.int64],
        late: NDArray[np.int64],
        shares: NDArray[np.float64],
        conduct: Conduct,
        rng: np.random.Generator,
    ) -> Counts:
        """What transformers count of requests by slot whose callers come once: each is a key of its own."""
        sent, in_time = int(requests.sum()), requests - broken - late
        overdue, good = int(late.sum()), int(in_time.sum())
        counts = Counts(requests=sent, errors=sent - good, late=overdue, keys=sent, failed_keys=sent - good)
        if not good + overdue:
            return counts
        service = self.scenario.service
        counts.latency = counts.all_latency = drawn_latencies(in_time, overdue, shares, service.late_bin, rng)
        counts.outputs = rng.multinomial(good, output_shares(conduct.distance(service)))
        counts.positives = int(rng.binomial(good, positive_share(service, conduct.fault, is_candidate=conduct.is_candidate)))
        return counts

    def _shadow(
        self,
        requests: NDArray[np.int64],
        slots: slice,
        fraction: float,
        candidate: Conduct,
        stable: Conduct,
        rng: np.random.Generator,
    ) -> Counts:
        """Copies of what the stable version answers; what befalls both befalls both of the same request."""
        here = rng.binomial(requests, fraction)
        both = rng.binomial(here, self._weather.failing[slots])
        shares = self._latencies(candidate)
        broken = rng.binomial(here - both, candidate.errors)
        late = rng.binomial(here - both - broken, self._late(shares))
        counts = self._lone(here, both + broken, late, shares, candidate, rng)
        lost = stable.errors + (1 - stable.errors) * self._late(self._latencies(stable))
        answers = int(rng.binomial(here - both - broken - late, lost).sum())
        # Of what failed in the shadow, too: these failed in both.
        shadow = int((broken + late).sum())
        twice = int(rng.binomial(broken + late, lost).sum())
        good = int(here.sum() - both.sum()) - shadow - answers
        differing = int(rng.binomial(good, min(self.scenario.service.disagreement + candidate.fault.labels, 1.0)))
        failed = (int(both.sum()) + twice, shadow - twice, answers)
        counts.paired = counts.paired_keys = self._pairs(good, differing, failed, candidate.fault, rng)
        if self._callers.number:
            counts += self._callers_shadow(slots, fraction, candidate, stable, rng)
        return counts

    def _callers_shadow(
        self, slots: slice, fraction: float, candidate: Conduct, stable: Conduct, rng: np.random.Generator
    ) -> Counts:
        """The same of callers who come again and again: all of one's requests of a minute are copied, or none."""
        callers, fault = self._callers, candidate.fault
        fates = callers.fall(slots, callers.copied(slots, fraction), candidate, rng)
        counts = callers.count(CANDIDATE, slots, fates, candidate, rng)
        # What failed in the shadow alone is so seldom that the answer to it is taken to be there.
        good = fates.requests - fates.failed
        nothing = np.zeros_like(good)
        lost = callers.fall_alone(Fates(good, nothing, nothing, fates.late), stable, rng).failed
        by_key = callers.pair(slots, fates, fates.shared + lost, candidate, rng)
        both, shadow, answer = (int(each.sum()) for each in (fates.shared, fates.failed - fates.shared, lost))
        left = int(good.sum()) - answer
        differing = int(rng.binomial(left, callers.differing(candidate)))
        counts.paired = self._pairs(left, differing, (both, shadow, answer), fault, rng)
        failed = (by_key.both, by_key.shadow, by_key.answer)
        counts.paired_keys = replace(self._pairs(by_key.good, by_key.differing, failed, fault, rng), requests=by_key.keys)
        return counts

    def _pairs(self, good: int, differing: int, failed: tuple[int, int, int], fault: Fault, rng: np.random.Generator) -> Paired:
        """Pairs of which so many were answered by both, and so many failed in both, in the shadow alone, in the answer alone."""
        ratios = rng.multinomial(good, ratio_shares(self.scenario.service, fault))
        both, shadow, answer = failed
        return Paired(
            good + sum(failed),
            good - differing,
            differing,
            # The upper ones begin at equal latencies.
            int(ratios[RATIO_HALVES // 2 :].sum()),
            shadow,
            answer,
            both,
            rng.multinomial(good, difference_shares(fault)),
            ratios,
        )

"""Our rules on unkind traffic: an equally good version stays, and would not if callers were counted as they once were."""

from dataclasses import replace

import numpy as np
import pytest

from penstock_cli.rollout.simulate.evidence_rules import EvidenceRules, Plan
from penstock_cli.rollout.simulate.faults import Fault
from penstock_cli.rollout.simulate.policy import Decision, End
from penstock_cli.rollout.simulate.run import Run, run
from penstock_cli.rollout.simulate.service import Service
from penstock_cli.rollout.simulate.trace import Scenario, Seen, Shares, Trace
from penstock_cli.rollout.simulate.traffic import SLOT_S, Outages, Sticky, Traffic
from penstock_operator.model_version import Rollout, Shadow

AT_ONCE, HALVES, WHOLE = Rollout(steps=(100,)), Rollout(steps=(50, 100)), Rollout(steps=(5, 100))
IDS = Scenario(Traffic(sticky=Sticky(share=1.0, callers=1000, spells_an_hour=0)), Service(errors=0.01))
LATE = Scenario(service=Service(deadline_s=0.06))
LOUD = Scenario(Traffic(sticky=Sticky(share=0.9, callers=1, slower=2.0, spells_an_hour=0)))
BUSY = Scenario(service=Service(utilisation=0.6))


class CopiesOfRequests(Trace):
    """Copies without their keys: each is a caller of its own."""

    def between(self, start_s: float, end_s: float, shares: Shares) -> Seen:
        seen = super().between(start_s, end_s, shares)
        if shares.beside:
            seen.stable.keys, seen.stable.failed_keys = seen.stable.requests, seen.stable.errors
        return seen


class CopiesWithoutDeadline(Trace):
    """Copies that may take as long as they like."""

    def between(self, start_s: float, end_s: float, shares: Shares) -> Seen:
        seen = super().between(start_s, end_s, shares)
        if shares.beside:
            late, seen.stable.late = seen.stable.late, 0
            seen.stable.errors -= late
            seen.stable.failed_keys -= late
        return seen


class LatencyOfRequests(Trace):
    """Transformers that tell latencies of all requests, as those of an older release do."""

    def between(self, start_s: float, end_s: float, shares: Shares) -> Seen:
        seen = super().between(start_s, end_s, shares)
        for counts in (seen.stable, seen.candidate):
            counts.latency = np.zeros_like(counts.latency)
        return seen


class QuietBefore(Trace):
    """A version before that nobody has seen under load: it comes with the last step."""

    def between(self, start_s: float, end_s: float, shares: Shares) -> Seen:
        if not shares.beside:
            self._weather.rate[int(start_s // SLOT_S) : int(end_s // SLOT_S)] = 0.3
        return super().between(start_s, end_s, shares)


class BusierAtLast(Trace):
    """A burst of load just as the new version gets everything: a third more for a minute. It notices, and its copies do not."""

    struck, burst_s = False, 60

    def between(self, start_s: float, end_s: float, shares: Shares) -> Seen:
        if shares.beside and not self.struck:
            self.struck = True
            first = int(start_s // SLOT_S)
            burst = slice(first, first + self.burst_s // SLOT_S)
            self._weather.rate[burst] *= 1.33
            self._weather.requests[burst] = (1.33 * self._weather.requests[burst]).astype(int)
        return super().between(start_s, end_s, shares)


def played(make: type[Trace], scenario: Scenario, rollout: Rollout, seeds: int = 3) -> list[Run]:
    return [run(make(scenario, 900.0, seed), EvidenceRules(Plan(rollout))) for seed in range(seeds)]


@pytest.mark.parametrize(
    "scenario, rollout, counted_otherwise, metric",
    [
        (IDS, AT_ONCE, CopiesOfRequests, "errorRate"),
        (LATE, AT_ONCE, CopiesWithoutDeadline, "errorRate"),
        (LOUD, HALVES, LatencyOfRequests, "latencyP99"),
        (BUSY, WHOLE, QuietBefore, "latencyP99"),
    ],
    ids=["keys at 100 %", "deadlines at 100 %", "a loud caller", "load at 100 %"],
)
def test_an_equally_good_version_is_not_taken_back_for_its_callers(
    scenario: Scenario, rollout: Rollout, counted_otherwise: type[Trace], metric: str
) -> None:
    seeds = 4 if scenario is LOUD else 2
    assert [one for one in played(Trace, scenario, rollout, seeds) if one.end is End.ROLLED_BACK] == []
    back = [one for one in played(counted_otherwise, scenario, rollout, seeds) if one.end is End.ROLLED_BACK]
    assert {one.metric for one in back} == {metric}
    # The loud caller is the new version's in half of all rollouts.
    assert len(back) == seeds if scenario is not LOUD else back


@pytest.mark.parametrize(
    "fault, metric", [(Fault(errors=0.05), "errorRate"), (Fault(latency=2.0), "latencyP99"), (Fault(scores=0.4), "outputDrift")]
)
def test_a_faulty_version_is_taken_back_whatever_the_callers(fault: Fault, metric: str) -> None:
    sticky = Sticky(share=0.5, callers=300, spells_an_hour=0, spread=0.3, own=0.5)
    scenario = Scenario(Traffic(sticky=sticky), Service(deadline_s=0.2, utilisation=0.3), fault)
    back = played(Trace, scenario, HALVES, seeds=2)
    assert [(one.end, one.metric) for one in back] == [(End.ROLLED_BACK, metric)] * 2


def test_a_burst_of_load_in_the_last_step_takes_no_equally_good_version_back() -> None:
    found = played(BusierAtLast, BUSY, WHOLE)
    assert [one.end for one in found] == [End.LIVE] * 3, [one.why for one in found]


class BusierForMinutes(BusierAtLast):
    """For longer than harm is asked to last."""

    burst_s = 180


class Forgetful(EvidenceRules):
    """As an operator goes on that was of an older release in the steps before."""

    def look(self, now_s: float, seen: Seen) -> Decision:
        self._remembered.pop("requestsPerS", None)
        return super().look(now_s, seen)


def test_minutes_of_more_load_in_the_last_step_take_no_equally_good_version_back_where_it_is_known_what_came_before() -> None:
    found = played(BusierForMinutes, BUSY, WHOLE)
    assert [one.end for one in found] == [End.LIVE] * 3, [one.why for one in found]
    unknown = [run(BusierForMinutes(BUSY, 900.0, seed), Forgetful(Plan(WHOLE))) for seed in range(3)]
    assert [(one.end, one.metric) for one in unknown] == [(End.ROLLED_BACK, "latencyP99")] * 3


def test_a_version_that_is_slow_with_all_requests_is_found_when_more_load_is_over() -> None:
    found = played(BusierForMinutes, replace(BUSY, fault=Fault(latency=2.0, from_weight=100)), WHOLE)
    assert [(one.end, one.metric) for one in found] == [(End.ROLLED_BACK, "latencyP99")] * 3


class SlowAtLast(Trace):
    """Everything, requests and copies, is slower by two fifths for as long as the last step lasts."""

    def between(self, start_s: float, end_s: float, shares: Shares) -> Seen:
        if shares.beside:
            self._weather.slowness[int(start_s // SLOT_S) : int(end_s // SLOT_S)] *= 1.4
        return super().between(start_s, end_s, shares)


def test_what_slows_both_versions_in_the_last_step_takes_no_equally_good_version_back() -> None:
    found = played(SlowAtLast, BUSY, WHOLE)
    assert [one.end for one in found] == [End.LIVE] * 3, [one.why for one in found]


def test_twice_the_latency_only_with_all_requests_is_taken_back_under_load() -> None:
    scenario = replace(BUSY, fault=Fault(latency=2.0, from_weight=100))
    found = played(Trace, scenario, WHOLE)
    assert [(one.end, one.metric) for one in found] == [(End.ROLLED_BACK, "latencyP99")] * 3


def test_a_shadow_counts_keys_and_a_step_begins_anew() -> None:
    scenario = replace(IDS, service=Service(errors=0.0))
    rollout = Rollout(steps=(50, 100), shadow=Shadow(fraction=0.3, min_requests=100))
    found = played(Trace, scenario, rollout, seeds=2)
    assert [one.end for one in found] == [End.LIVE] * 2
    assert all(one.real_s is not None and one.real_s < one.seconds for one in found)


def test_an_outage_that_makes_both_late_takes_nothing_back() -> None:
    scenario = Scenario(Traffic(outages=Outages(an_hour=60, failing=0.0)), Service(deadline_s=0.06))
    assert all(one.end is not End.ROLLED_BACK for one in played(Trace, scenario, AT_ONCE))


def test_words_come_once_the_time_is_up() -> None:
    rollout = Rollout(max_duration="5m", on_insufficient_traffic="rollBack")
    (found,) = played(Trace, Scenario(Traffic(rate=1.0)), rollout, seeds=1)
    assert (found.end, found.metric) == (End.ROLLED_BACK, "time")
    assert found.why.startswith("Rolled back undecided")
    assert found.seconds == pytest.approx(300, abs=30)

"""Callers who stick to a version: the simulator tells who they are as transformers do, and few of them take nothing back."""

import pytest

from penstock_cli.rollout.simulate.evidence_rules import EvidenceRules, Plan
from penstock_cli.rollout.simulate.faults import Fault
from penstock_cli.rollout.simulate.policy import End
from penstock_cli.rollout.simulate.run import run
from penstock_cli.rollout.simulate.service import Service
from penstock_cli.rollout.simulate.trace import Scenario, Seen, Shares, Trace
from penstock_cli.rollout.simulate.traffic import Sticky, Traffic
from penstock_operator.model_version import Rollout

GOOD = Fault()
FIVE = Plan(Rollout(steps=(5, 100)))


def scenario(callers: int, fault: Fault = GOOD, **more: float) -> Scenario:
    return Scenario(Traffic(rate=60.0, sticky=Sticky(1.0, callers, spells_an_hour=0, **more)), Service(errors=0.0), fault)


class Untold(Trace):
    """As of transformers that tell nothing of callers."""

    def between(self, start_s: float, end_s: float, shares: Shares) -> Seen:
        seen = super().between(start_s, end_s, shares)
        for counts in (seen.stable, seen.candidate):
            counts.callers = None
        return seen


def test_who_the_callers_are_is_told_of_steps_and_adds_up() -> None:
    trace = Trace(scenario(100, own=1.0, broken=0.05), 300.0, 1)
    looks = [trace.between(at, at + 30.0, Shares(50)) for at in range(0, 300, 30)]
    for arm in ("stable", "candidate"):
        total = getattr(looks[0], arm)
        for look in looks[1:]:
            total += getattr(look, arm)
        told = total.callers
        assert told is not None
        assert told.keyed == total.keys
        assert told.came.distinct == pytest.approx(50, abs=25)
        # Five minutes, in each of which nearly all come.
        assert told.came.others == pytest.approx(4.0, abs=0.3)
        assert told.failed.total == told.failed.distinct == total.failed_keys
        # What is a caller's own is the same each time.
        (pairs, same), (scores, same_scores) = told.alike["label"], told.alike["scores.late"]
        assert pairs == scores == sum(count for _, count in told.quicker) > 60
        assert (same, same_scores) == (pairs, scores)


@pytest.mark.parametrize("shares", [Shares(0), Shares(0, shadow=0.5), Shares(100, beside=0.2)])
def test_who_sticks_to_nothing_is_not_told(shares: Shares) -> None:
    seen = Trace(scenario(100), 60.0, 1).between(0.0, 60.0, shares)
    assert (seen.stable.callers, seen.candidate.callers, seen.shadow.callers) == (None, None, None)


def test_a_key_for_each_request_is_nobody_again() -> None:
    seen = Trace(Scenario(Traffic(sticky=Sticky(0.5, 20_000, spells_an_hour=0))), 60.0, 1).between(0.0, 60.0, Shares(25))
    assert seen.candidate.callers is not None
    assert seen.candidate.callers.came.others < 0.1
    assert seen.candidate.callers.keyed == pytest.approx(0.5 * seen.candidate.keys, rel=0.15)


def test_few_callers_with_answers_and_speeds_of_their_own_take_nothing_back() -> None:
    own, seeds = scenario(100, own=1.0, spread=0.7, broken=0.02), (2, 4, 10, 18)
    ends = {make: [run(make(own, 900.0, seed), EvidenceRules(FIVE)) for seed in seeds] for make in (Trace, Untold)}
    assert [(one.end, one.metric) for one in ends[Untold]] == [(End.ROLLED_BACK, "outputDrift")] * len(seeds)
    assert [one.why for one in ends[Trace] if one.end is End.ROLLED_BACK] == []


@pytest.mark.parametrize(
    ("fault", "metric"),
    [(Fault(errors=0.05), "errorRate"), (Fault(latency=2.5), "latencyP99"), (Fault(scores=0.5), "outputDrift")],
)
def test_a_faulty_version_is_taken_back_nevertheless(fault: Fault, metric: str) -> None:
    found = run(Trace(scenario(1000, fault), 900.0, 1), EvidenceRules(FIVE))
    assert (found.end, found.metric) == (End.ROLLED_BACK, metric)

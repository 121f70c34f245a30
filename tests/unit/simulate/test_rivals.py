"""The rivals do what the tools do whose rules they follow; both with what they see and with what they cannot."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from penstock_cli.rollout.simulate.faults import Fault
from penstock_cli.rollout.simulate.mann_whitney import Horizon, RankJudge, is_different, without_outliers
from penstock_cli.rollout.simulate.policy import End
from penstock_cli.rollout.simulate.run import run
from penstock_cli.rollout.simulate.runs import Job, run_all
from penstock_cli.rollout.simulate.summary import summarise
from penstock_cli.rollout.simulate.threshold import Bounds, ThresholdCheck, tuned
from penstock_cli.rollout.simulate.trace import Scenario, Trace
from penstock_cli.rollout.simulate.traffic import Traffic

HOURS_3 = 3 * 3600.0


def test_a_threshold_rolls_back_after_more_failed_measurements_than_allowed() -> None:
    bad = Scenario(fault=Fault(errors=0.2))
    found = run(Trace(bad, HOURS_3, 1), ThresholdCheck(Bounds()))
    assert (found.end, found.seconds, found.metric) == (End.ROLLED_BACK, 4 * 300, "errors")
    assert found.hurt == pytest.approx(0.2 * found.answered, rel=0.1)


def test_a_threshold_does_not_see_what_is_within_it() -> None:
    found = run(Trace(Scenario(fault=Fault(errors=0.02, latency=3.0)), HOURS_3, 1), ThresholdCheck(Bounds()))
    assert (found.end, found.seconds) == (End.LIVE, 3 * 600)


def test_a_bound_of_latency_is_looked_at_too() -> None:
    found = run(Trace(Scenario(fault=Fault(latency=3.0)), HOURS_3, 1), ThresholdCheck(Bounds(p99_s=0.1, failure_limit=0)))
    assert (found.end, found.seconds, found.metric) == (End.ROLLED_BACK, 300, "latency")


def test_tuned_bounds_allow_what_good_rollouts_showed() -> None:
    worst = [(0.001 * place, 0.1 + 0.001 * place) for place in range(100)]
    found = tuned(Bounds(), worst, alpha=0.04)
    assert found.success_rate == pytest.approx(1 - 0.097)
    assert found.p99_s == pytest.approx(0.197)
    assert sum(1 - rate < found.success_rate for rate, _ in worst) == 2


def test_the_judge_waits_for_its_hour() -> None:
    found = run(Trace(Scenario(fault=Fault(errors=0.5)), HOURS_3, 1), RankJudge(Horizon()))
    assert (found.end, found.seconds, found.metric) == (End.ROLLED_BACK, 3600, "errors")
    good = run(Trace(Scenario(Traffic(rate=20)), HOURS_3, 2), RankJudge(Horizon()))
    assert (good.end, good.seconds) == (End.LIVE, HOURS_3)


def test_the_judge_is_mann_and_whitneys() -> None:
    rng = np.random.default_rng(5)
    for shift in (0.0, 0.3, 0.6, 3.0):
        x, y = rng.standard_normal(60) + shift, rng.standard_normal(60)
        p = mannwhitneyu(x, y, method="asymptotic").pvalue
        if is_different(x.tolist(), y.tolist(), both_ways=True):
            assert p < 0.02
        elif shift == 3.0:
            pytest.fail("three standard deviations are a difference")
    assert not is_different([1.0] * 60, [1.0] * 60, both_ways=True)
    assert not is_different([], [1.0], both_ways=True)


def test_outliers_are_left_out() -> None:
    assert without_outliers([1, 2, 3, 4, 1000]).tolist() == [1, 2, 3, 4]


def test_many_runs_are_those_of_one_process_each_with_its_seed() -> None:
    job = Job(Scenario(Traffic(rate=20), fault=Fault(errors=0.2)), ThresholdCheck, Bounds(), 3600.0, 12)
    told: list[tuple[int, int]] = []
    (alone,) = run_all([job], processes=1, told=lambda done, total: told.append((done, total)))
    assert told == [(10, 12), (12, 12)]
    (together,) = run_all([job], processes=2)
    assert alone == together
    assert len({found.answered for found in alone}) > 1
    summary = summarise(alone)
    assert summary.rolled_back.events == 12
    assert summary.rolled_back.bounds[1] == 1.0
    assert summary.real_s.median == 1200
    assert summary.metrics == {"errors": 12}

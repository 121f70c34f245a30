"""Callers of their own: a key counts once a minute, whoever answers it; copies are of keys; what is its own stays its own."""

import numpy as np
import pytest

from penstock_cli.rollout.simulate.counts import Counts
from penstock_cli.rollout.simulate.faults import Fault
from penstock_cli.rollout.simulate.service import Service, queueing
from penstock_cli.rollout.simulate.trace import Scenario, Seen, Shares, Trace
from penstock_cli.rollout.simulate.traffic import Outages, Sticky, Traffic

MINUTE = 60.0
IDS = Sticky(share=1.0, callers=1000, spells_an_hour=0)


def seen(scenario: Scenario, shares: Shares, seconds: float = MINUTE, seed: int = 1) -> Seen:
    return Trace(scenario, seconds, seed).between(0, seconds, shares)


def median_bin(counts: Counts) -> float:
    return float(np.median(np.repeat(np.arange(320), counts.latency)))


def test_of_latency_and_outputs_a_key_counts_once_a_minute() -> None:
    loud = Scenario(Traffic(sticky=Sticky(0.9, callers=1, slower=4.0, spells_an_hour=0)), Service(errors=0.0))
    found = seen(loud, Shares(0), seconds=10 * MINUTE).stable
    lone = 0.1 * 200 * 600
    assert found.requests == pytest.approx(10 * lone, rel=0.05)
    assert found.keys == found.latency.sum() == found.outputs.sum() == pytest.approx(lone + 10, rel=0.05)
    # To Prometheus the service is four times as slow as to who counts callers.
    everybody = float(np.median(np.repeat(np.arange(320), found.all_latency)))
    assert found.all_latency.sum() == found.requests
    assert everybody - median_bin(found) == pytest.approx(32, abs=3)


def test_with_all_requests_at_the_candidate_copies_are_of_keys_and_fail_as_keys_do() -> None:
    found = seen(Scenario(Traffic(sticky=IDS), Service(errors=0.01)), Shares(100, beside=0.2))
    live, copies = found.candidate, found.stable
    assert live.keys == 1000
    assert copies.keys == pytest.approx(200, rel=0.2)
    assert copies.requests / copies.keys == pytest.approx(live.requests / live.keys, rel=0.1)
    # A key of twelve requests fails in eleven minutes of a hundred, copied or not; a request of a hundred in one.
    assert live.failed_keys / live.keys == pytest.approx(0.11, abs=0.03)
    assert copies.failed_keys / copies.keys == pytest.approx(0.11, abs=0.07)
    assert copies.errors / copies.requests == pytest.approx(0.01, abs=0.006)


def test_other_keys_are_copied_in_the_next_minute_and_the_same_whenever_it_is_asked() -> None:
    scenario = Scenario(Traffic(rate=400, sticky=IDS), Service(errors=0.0))
    whole, looks = Trace(scenario, 2 * MINUTE, 3), Trace(scenario, 2 * MINUTE, 3)
    first, second = (whole.between(at, at + MINUTE, Shares(100, beside=0.2)).stable.keys for at in (0.0, MINUTE))
    by_look = [looks.between(at, at + 6, Shares(100, beside=0.2)).stable.keys for at in range(0, 120, 6)]
    assert (sum(by_look[:10]), sum(by_look[10:])) == (first, second)
    assert first != second


@pytest.mark.parametrize("sticky", [Sticky(), IDS])
def test_deadlines_are_missed_in_both_versions_and_by_copies(sticky: Sticky) -> None:
    service = Service(errors=0.0, deadline_s=0.06)
    scenario = Scenario(Traffic(sticky=sticky, outages=Outages(an_hour=30, failing=0.0)), service)
    for shares in (Shares(50), Shares(100, beside=0.2)):
        found = seen(scenario, shares, seconds=20 * MINUTE)
        rates = [counts.errors / counts.requests for counts in (found.stable, found.candidate)]
        # Where everything is three times as slow half of all answers are late: in the copies, too.
        assert rates[0] == pytest.approx(rates[1], rel=0.1)
        assert rates[0] > 0.05
        for counts in (found.stable, found.candidate):
            assert counts.late == counts.errors
            assert counts.all_latency[service.late_bin] == counts.late
            assert not counts.all_latency[service.late_bin + 1 :].any()
            assert not counts.latency[service.late_bin + 1 :].any()
    slow = seen(Scenario(Traffic(sticky=sticky), service, Fault(latency=2.0)), Shares(50))
    assert slow.candidate.errors / slow.candidate.requests > 4 * slow.stable.errors / slow.stable.requests > 0.01


def test_latency_rises_with_what_a_version_gets() -> None:
    service = Service(utilisation=0.5)
    assert queueing(service, np.array([0.0, 0.2, 1.0])) == pytest.approx([0.5, 0.5 / 0.9, 1.0])
    assert np.isfinite(queueing(service, np.array([4.0]))).all()
    full = seen(Scenario(service=service), Shares(100, beside=0.2))
    assert full.candidate.p99_s() / full.stable.p99_s() == pytest.approx(1.8, rel=0.1)
    half = seen(Scenario(service=service), Shares(50))
    assert half.candidate.p99_s() == pytest.approx(half.stable.p99_s(), rel=0.15)
    small = seen(Scenario(service=service), Shares(5))
    assert small.candidate.p99_s() < 0.65 * small.stable.p99_s()
    # The one caller who makes all requests is load where he is.
    alone = [seen(Scenario(Traffic(sticky=Sticky(1.0)), service), Shares(50), seed=seed) for seed in range(6)]
    answering = [max(one.stable, one.candidate, key=lambda counts: counts.requests) for one in alone]
    assert all(counts.p99_s() == pytest.approx(full.candidate.p99_s(), rel=0.15) for counts in answering)


def test_a_caller_has_answers_and_a_speed_of_its_own() -> None:
    def answers(own: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        sticky = Sticky(1.0, callers=4, spells_an_hour=0, spread=1.0, own=own)
        trace = Trace(Scenario(Traffic(sticky=sticky), Service(errors=0.0)), 60 * MINUTE, seed)
        looks = [trace.between(at, at + 1800, Shares(0)).stable for at in (0, 1800)]
        return looks[0].outputs, looks[1].outputs

    first, second = answers(1.0, 1)
    assert (first == second).all()
    assert (first > 0).sum() <= 4
    assert any((answers(1.0, seed)[0] != first).any() for seed in (2, 3))
    assert (answers(0.0, 1)[0] > 0).sum() > 8


def test_pairs_of_a_key_are_one_a_minute() -> None:
    sticky = Sticky(0.9, callers=40, spells_an_hour=0, own=1.0)
    found = seen(Scenario(Traffic(sticky=sticky), Service(errors=0.001), Fault(errors=0.01, labels=0.3)), Shares(0, shadow=0.5))
    every, keys = found.shadow.paired, found.shadow.paired_keys
    assert every.requests == found.shadow.requests == pytest.approx(0.5 * 200 * MINUTE, rel=0.35)
    lone = 0.5 * 0.1 * 200 * MINUTE
    assert keys.requests == pytest.approx(lone + 20, rel=0.1)
    # Each caller who is copied at all fails with one of his hundreds of requests or more.
    assert keys.only_shadow_failed < 0.012 * lone + 30 < every.only_shadow_failed
    assert keys.agreeing + keys.differing == keys.ratios.sum() <= keys.requests
    assert keys.differing / (keys.agreeing + keys.differing) == pytest.approx(0.31, abs=0.06)
    assert every.both_failed == 0

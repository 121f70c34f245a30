"""Made traffic: the same for the same seed whatever the rules do, in the shares asked for; keys count once a minute."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.evidence.adding import added, difference
from penstock_cli.rollout.simulate.evidence import CANDIDATE, entry_of
from penstock_cli.rollout.simulate.faults import Fault, read_faults
from penstock_cli.rollout.simulate.service import Service, output_shares
from penstock_cli.rollout.simulate.trace import Scenario, Seen, Shares, Trace
from penstock_cli.rollout.simulate.traffic import KINDS, SLOT_S, Outages, Sticky, Traffic, weather

HOUR = 3600.0


def whole(scenario: Scenario, shares: Shares, seconds: float = HOUR, seed: int = 1) -> Seen:
    return Trace(scenario, seconds, seed).between(0, seconds, shares)


@pytest.mark.parametrize("kind", KINDS)
def test_arrivals_follow_the_seed_alone(kind: str) -> None:
    def arrivals(weight: int, step: int) -> list[int]:
        trace = Trace(Scenario(Traffic(kind=kind)), 300, seed=7)
        looks = [trace.between(at, at + step, Shares(weight, 0.1)) for at in range(0, 300, step)]
        each = [seen.stable.requests + seen.candidate.requests for seen in looks]
        return [sum(each[at : at + 60 // step]) for at in range(0, len(each), 60 // step)]

    assert arrivals(5, 6) == arrivals(50, 60)


@pytest.mark.parametrize("kind", ["constant", "bursty"])
def test_the_mean_is_the_rate(kind: str) -> None:
    found = weather(Traffic(rate=100, kind=kind), 20 * HOUR, 3).requests
    assert found.mean() / SLOT_S == pytest.approx(100, rel=0.1)
    assert found.std() > (100 if kind == "bursty" else 20)


def test_a_baseline_has_as_many_requests_as_the_candidate_and_is_as_cold() -> None:
    scenario = Scenario(Traffic(sticky=Sticky(0.5, callers=2000)), fault=read_faults(["cold=6"]))
    usual, fresh = (whole(scenario, Shares(20, baseline=fresh), seconds=60) for fresh in (False, True))
    assert fresh.stable.requests == pytest.approx(fresh.candidate.requests, rel=0.2)
    assert usual.stable.requests == pytest.approx(4 * fresh.candidate.requests, rel=0.2)
    assert fresh.stable.p99_s() == pytest.approx(fresh.candidate.p99_s(), rel=0.2)
    assert usual.stable.p99_s() < 0.5 * fresh.stable.p99_s()


def test_a_day_has_its_night() -> None:
    found = weather(Traffic(rate=100, kind="daily"), 24 * HOUR, 3).requests.reshape(24, -1).mean(axis=1)
    assert found.min() < 30 * SLOT_S < 170 * SLOT_S < found.max()


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="constant, bursty, daily"):
        weather(Traffic(kind="odd"), 60, 1)


def test_faults_show_in_what_is_counted() -> None:
    fault = read_faults(["errors=0.02", "latency=2", "scores=0.3", "labels=0.4"])
    seen = whole(Scenario(fault=fault), Shares(20, 0.5))
    assert seen.candidate.requests == pytest.approx(0.2 * 200 * HOUR, rel=0.02)
    assert seen.candidate.errors / seen.candidate.requests == pytest.approx(0.021, rel=0.1)
    assert seen.stable.errors / seen.stable.requests == pytest.approx(0.001, rel=0.2)
    assert seen.candidate.p99_s() / seen.stable.p99_s() == pytest.approx(2, rel=0.1)
    shares = [counts.outputs / counts.outputs.sum() for counts in (seen.candidate, seen.stable)]
    assert np.abs(shares[0] - shares[1]).sum() / 2 == pytest.approx(0.32, abs=0.02)
    pairs = seen.shadow.paired
    assert pairs.differing / (pairs.agreeing + pairs.differing) == pytest.approx(0.41, abs=0.02)
    assert pairs.only_shadow_failed > 10 * pairs.only_answer_failed
    assert pairs.slower / (pairs.agreeing + pairs.differing) > 0.8


def test_a_part_of_requests_may_be_slow_and_pods_may_be_cold() -> None:
    slow = whole(Scenario(fault=read_faults(["latency=5:0.1"])), Shares(50))
    assert slow.candidate.p99_s() > 2 * slow.stable.p99_s()
    assert np.median(np.repeat(np.arange(320), slow.candidate.latency)) <= 6 + np.median(
        np.repeat(np.arange(320), slow.stable.latency)
    )
    trace = Trace(Scenario(fault=read_faults(["cold=5"])), HOUR, 1)
    early, late = (trace.between(at, at + 12, Shares(50)) for at in (0, 300))
    assert early.candidate.p99_s() > 2 * early.stable.p99_s()
    assert late.candidate.p99_s() < 1.5 * late.stable.p99_s()


def test_an_outage_hits_both_versions_alike() -> None:
    seen = whole(Scenario(Traffic(outages=Outages(an_hour=20))), Shares(50, 0.5))
    rates = [counts.errors / counts.requests for counts in (seen.stable, seen.candidate)]
    assert rates[0] > 0.01
    assert rates[0] == pytest.approx(rates[1], rel=0.1)
    assert seen.shadow.paired.both_failed > 10 * seen.shadow.paired.only_shadow_failed


def test_a_sticky_caller_is_one_key_a_minute_in_one_arm() -> None:
    sticky = Sticky(share=0.9, callers=1, spells_an_hour=60, spell_s=30)
    service = Service(errors=0.0)
    seen = [whole(Scenario(Traffic(rate=50, sticky=sticky), service), Shares(50), seed=seed) for seed in range(8)]
    heavy = [max((one.stable, one.candidate), key=lambda counts: counts.requests) for one in seen]
    light = [min((one.stable, one.candidate), key=lambda counts: counts.requests) for one in seen]
    assert all(counts.errors > 5 * counts.failed_keys > 0 for counts in heavy)
    assert all(counts.errors == 0 for counts in light)
    assert all(counts.failed_keys <= HOUR / 60 for counts in heavy)
    # Both arms have the keys of requests that come once, and the caller's 60 minutes are in one of them.
    assert all(abs(a.keys - b.keys) < 6 * math.sqrt(a.keys) for a, b in zip(heavy, light, strict=True))
    assert len({one.candidate.requests > one.stable.requests for one in seen}) == 2


@given(st.floats(0, 0.7))
def test_outputs_are_as_far_as_was_asked(distance: float) -> None:
    found = output_shares(distance)
    assert found.sum() == pytest.approx(1)
    assert np.abs(found - output_shares(0.0)).sum() / 2 == pytest.approx(distance, abs=0.15 if distance > 0.5 else 1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0, 5, 50, 100]), st.sampled_from([0.0, 0.2]))
def test_what_was_counted_is_evidence(seed: int, weight: int, shadow: float) -> None:
    trace = Trace(Scenario(Traffic(rate=30), fault=Fault(errors=0.1)), 60, seed)
    looks = [trace.between(at, at + 6, Shares(weight, shadow)) for at in (0, 6, 12)]
    for is_shadow in (False, True):
        each = [entry_of(seen.shadow if is_shadow else seen.candidate, CANDIDATE, 3, "8", shadow=is_shadow) for seen in looks]
        total = added(each)
        counts = looks[0].shadow if is_shadow else looks[0].candidate
        for seen in looks[1:]:
            counts += seen.shadow if is_shadow else seen.candidate
        assert total == entry_of(counts, CANDIDATE, 3, "8", shadow=is_shadow)
        assert added([each[0], difference(total, each[0])]) == total
        assert sum(n for _, n in total.latency.call) == total.requests - sum(total.errors.values())
        assert all(sum(one.counts) == total.requests - sum(total.errors.values()) for one in total.outputs.values())


def test_no_requests_at_all_are_counted_as_none() -> None:
    seen = whole(Scenario(Traffic(rate=0)), Shares(50, 0.5))
    assert (seen.stable.requests, seen.candidate.requests, seen.shadow.requests) == (0, 0, 0)
    assert math.isnan(seen.candidate.p99_s())
    assert replace(seen.candidate.paired).requests == 0

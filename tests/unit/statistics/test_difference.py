"""The difference of two rates: its errors of both kinds at all looks, its symmetries, and its power."""

from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.statistics.difference import (
    ABOVE,
    BELOW,
    Pair,
    log_e_above,
    log_e_below,
    log_e_below_all,
    log_factors,
    lower_bound,
    upper_bound,
    upper_bound_all,
)

ALPHA = 0.05
COUNTS = st.integers(1, 100_000)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    candidate, baseline = draw(COUNTS), draw(COUNTS)
    return Pair(candidate, draw(st.integers(0, candidate)), baseline, draw(st.integers(0, baseline)))


def _crossings(seed: int, rate: np.ndarray, extra: float, share: float, runs: int, *, above: bool, margin: float) -> int:
    """How many of `runs` histories ever reach 1 / ALPHA. `rate`: of the baseline at each look, 40 units a look."""
    rng, crossed, looks, units = np.random.default_rng(seed), 0, len(rate), 40
    given_to = rng.binomial(units, share, (runs, looks))
    failed = rng.binomial(given_to, np.minimum(rate + extra, 1.0))
    others = rng.binomial(units - given_to, rate)
    test = log_e_above if above else log_e_below
    sums = [np.cumsum(each, axis=1) for each in (given_to, failed, units - given_to, others)]
    for run in range(runs):
        at = range(0, looks, 3)
        crossed += any(test(Pair(*(float(each[run, look]) for each in sums)), margin) >= -log(ALPHA) for look in at)
    return crossed


_STEADY, _OUTAGE = np.full(100, 0.02), np.where(np.arange(100) // 20 == 2, 0.6, 0.01)


@pytest.mark.parametrize(("rate", "share"), [(_STEADY, 0.05), (_STEADY, 0.5), (_OUTAGE, 0.05), (_OUTAGE, 0.25)])
def test_a_version_at_its_margin_is_rarely_called_worse_whatever_hits_both(rate: np.ndarray, share: float) -> None:
    assert _crossings(1, rate, 0.01, share, 100, above=True, margin=0.01) <= 100 * ALPHA + 6


@pytest.mark.parametrize(("rate", "share"), [(_STEADY, 0.05), (_STEADY, 0.5), (_OUTAGE, 0.25)])
def test_a_version_at_its_margin_is_rarely_called_harmless(rate: np.ndarray, share: float) -> None:
    assert _crossings(2, rate, 0.01, share, 100, above=False, margin=0.01) <= 100 * ALPHA + 6


def test_a_much_worse_version_is_found() -> None:
    assert _crossings(3, _STEADY, 0.2, 0.25, 20, above=True, margin=0.01) == 20


@settings(max_examples=40)
@given(pairs(), st.floats(-1, 1), st.sampled_from([0.0, 0.01, 0.5]))
def test_a_bet_is_fair_to_its_own_null(pair: Pair, margin: float, centre: float) -> None:
    """One more unit, with rates that differ by exactly the margin, multiplies the expectation by at most 1."""
    low = max(0.0, -margin)
    for rate in (low, min(1.0, 1.0 - margin), (low + min(1.0, 1.0 - margin)) / 2):
        for odds, _ in (*ABOVE, *BELOW):
            hit, miss, other_hit, other_miss = log_factors(pair.share, margin, centre, odds)
            worse = rate + margin
            mean = pair.share * (worse * hit + (1 - worse) * miss) + (1 - pair.share) * (
                rate * other_hit + (1 - rate) * other_miss
            )
            assert mean == pytest.approx(1.0, abs=1e-9)
            assert min(hit, miss, other_hit, other_miss) > 0.0


@settings(max_examples=40)
@given(pairs(), st.floats(-1, 1), st.floats(-1, 1))
def test_a_wider_margin_is_harder_to_break_and_easier_to_keep(pair: Pair, one: float, other: float) -> None:
    narrow, wide = sorted((one, other))
    assert log_e_above(pair, wide) <= log_e_above(pair, narrow) + 1e-6
    assert log_e_below(pair, wide) >= log_e_below(pair, narrow) - 1e-6


def test_a_margin_that_no_candidate_can_break_is_kept_by_one_that_always_hits() -> None:
    pair = Pair(200, 200, 2000, 0)
    assert log_e_below(pair, 1.0) == log_e_below_all([pair, Pair(0, 0, 9, 9)], 1.0) == inf
    assert log_e_above(pair, 1.0) <= 0.0
    assert upper_bound(pair, log(100)) == upper_bound_all([pair], log(100)) == 1.0


@settings(max_examples=40)
@given(pairs())
def test_bounds_hold_what_was_seen(pair: Pair) -> None:
    low, high = lower_bound(pair, log(100)), upper_bound(pair, log(100))
    assert low <= pair.difference + 1e-6
    assert high >= pair.difference - 1e-6


def test_an_empty_arm_says_nothing() -> None:
    for pair in (Pair(0, 0, 100, 50), Pair(100, 50, 0, 0), Pair(0, 0, 0, 0)):
        for margin in (0.0, 0.01, 1.0):
            assert exp(log_e_above(pair, margin)) == exp(log_e_below(pair, margin)) == exp(log_e_below_all([pair], margin)) == 1.0

"""One rate against a bound: error at all looks, also when the rate changes, and bounds that hold what was seen."""

from math import inf, log

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.statistics import proportion


@settings(max_examples=40)
@given(st.integers(1, 10_000).flatmap(lambda units: st.tuples(st.integers(0, units), st.just(units))))
def test_bounds_hold_what_was_seen(counts: tuple[int, int]) -> None:
    hits, units = counts
    low, high = proportion.lower_bound(hits, units, log(100)), proportion.upper_bound(hits, units, log(100))
    assert low - 1e-8 <= hits / units <= high + 1e-8


COUNTS = st.integers(0, 10_000).flatmap(lambda units: st.tuples(st.integers(0, units), st.just(units)))


@settings(max_examples=40)
@given(COUNTS, st.floats(0, 1), st.floats(0, 1))
def test_a_wider_margin_is_harder_to_break_and_easier_to_keep(counts: tuple[int, int], one: float, other: float) -> None:
    narrow, wide = sorted((one, other))
    # Where there is no bet, at 0 and 1, there is none to lose either.
    assert proportion.log_e_above(*counts, wide) <= max(proportion.log_e_above(*counts, narrow), 0.0) + 1e-6
    assert max(proportion.log_e_below(*counts, wide), 0.0) >= proportion.log_e_below(*counts, narrow) - 1e-6


def test_no_rate_is_over_1_and_one_hit_is_over_0() -> None:
    for hits in (0, 3, 236):
        assert proportion.log_e_below(hits, 236, 1.0) == inf
        assert proportion.log_e_above(hits, 236, 1.0) == 0.0
        assert proportion.log_e_above(hits, 236, 0.0) == (inf if hits else 0.0)
        assert proportion.log_e_below(hits, 236, 0.0) == 0.0


def test_bounds_close_in() -> None:
    assert 0.04 < proportion.lower_bound(500, 10_000, log(100)) < 0.05 < proportion.upper_bound(500, 10_000, log(100)) < 0.06


def test_a_rate_at_its_bound_on_average_is_rarely_called_more() -> None:
    """0.05 on average at every look: the rate falls over time, so that an average bound is at its tightest."""
    rng, crossed, rates = np.random.default_rng(4), 0, np.full(60, 0.05)
    rates[::2], rates[1::2] = 0.0, 0.1
    for _ in range(200):
        hits = np.cumsum(rng.binomial(50, rates))
        crossed += any(proportion.log_e_above(float(hits[look]), 50.0 * (look + 1), 0.05) >= log(20) for look in range(1, 60, 4))
    assert crossed <= 200 * 0.05 + 6


def test_swapped_labels_are_found_in_a_handful_of_pairs() -> None:
    assert proportion.log_e_above(10, 10, 0.05) > log(1 / 0.0001)


def test_nothing_says_nothing() -> None:
    for margin in (0.0, 0.05, 1.0):
        assert proportion.log_e_above(0, 0, margin) == proportion.log_e_below(0, 0, margin) == 0.0

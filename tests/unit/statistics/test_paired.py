"""Pairs: what hits both is nothing, error at all looks is held, and bounds hold what was seen."""

from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.statistics import paired

COUNTS = st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(0, 20_000))


@settings(max_examples=40)
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_bet_is_fair_to_its_own_null(margin: float, part: float) -> None:
    """One pair, with rates that differ by exactly the margin, leaves the expectation at 1; at a margin of 1 all pairs do."""
    down, equal = (1 - margin) / 2 * part, (1 - margin) * (1 - part)
    chances = (down + margin, down, equal)
    tests = (paired.log_e_above, paired.log_e_below) if margin < 1 else (paired.log_e_above,)
    for test in tests:
        capitals = [exp(test(*seen, 1, margin)) for seen in ((1, 0), (0, 1), (0, 0))]
        assert sum(chance * capital for chance, capital in zip(chances, capitals, strict=True)) == pytest.approx(1.0, abs=1e-9)


@settings(max_examples=40)
@given(COUNTS, st.floats(0, 1), st.floats(0, 1))
def test_a_wider_margin_is_harder_to_break_and_easier_to_keep(counts: tuple[int, int, int], one: float, other: float) -> None:
    up, down, _ = counts
    narrow, wide = sorted((one, other))
    assert paired.log_e_above(up, down, sum(counts), wide) <= paired.log_e_above(up, down, sum(counts), narrow) + 1e-6
    assert paired.log_e_below(up, down, sum(counts), wide) >= paired.log_e_below(up, down, sum(counts), narrow) - 1e-6


def test_a_margin_that_no_candidate_can_break_is_kept_by_every_one_of_which_there_are_pairs() -> None:
    for up in (0, 3, 236):
        assert paired.log_e_below(up, 0, 236, 1.0) == inf
        assert paired.log_e_above(up, 0, 236, 1.0) <= 0.0
    assert paired.log_e_below(0, 0, 0, 1.0) == 0.0


@settings(max_examples=40)
@given(COUNTS)
def test_bounds_hold_what_was_seen(counts: tuple[int, int, int]) -> None:
    up, down, equal = counts
    pairs = up + down + equal
    if not pairs:
        return
    low, high = paired.lower_bound(up, down, pairs, log(100)), paired.upper_bound(up, down, pairs, log(100))
    assert low - 1e-6 <= (up - down) / pairs <= high + 1e-6


def test_shadow_and_answer_at_the_margin_are_rarely_told_apart() -> None:
    rng, crossed = np.random.default_rng(5), 0
    for _ in range(200):
        sums = np.cumsum(rng.multinomial(50, [0.03, 0.02, 0.95], 60), axis=0).astype(float)
        crossed += any(
            paired.log_e_above(sums[look][0], sums[look][1], 50.0 * (look + 1), 0.01) >= log(20) for look in range(1, 60, 4)
        )
    assert crossed <= 200 * 0.05 + 6


def test_bounds_close_in() -> None:
    assert 0.01 < paired.lower_bound(300, 100, 10_000, log(100)) < 0.02 < paired.upper_bound(300, 100, 10_000, log(100)) < 0.03

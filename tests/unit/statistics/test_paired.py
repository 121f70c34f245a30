"""Pairs: what hits both is nothing, error at all looks is held, and bounds hold what was seen."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.statistics import paired

COUNTS = st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(0, 20_000))


@settings(max_examples=40)
@given(st.floats(0, 0.5), st.floats(-0.4, 0.4))
def test_a_bet_is_fair_to_its_own_null(down: float, margin: float) -> None:
    up = down + margin
    if up < 0.0 or up + down > 1.0:
        return
    for stake, _ in paired.STAKES:
        for bet in (stake / (1 + margin), -stake / (1 - margin)):
            mean = up * (1 + bet * (1 - margin)) + down * (1 - bet * (1 + margin)) + (1 - up - down) * (1 - bet * margin)
            assert mean == pytest.approx(1.0, abs=1e-9)


@settings(max_examples=40)
@given(COUNTS)
def test_bounds_hold_what_was_seen(counts: tuple[int, int, int]) -> None:
    up, down, equal = counts
    pairs = up + down + equal
    if not pairs:
        return
    low, high = paired.lower_bound(up, down, pairs, log(100)), paired.upper_bound(up, down, pairs, log(100))
    assert low - 1e-6 <= (up - down) / pairs <= high + 1e-6 or abs(up - down) == pairs


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

"""The distance of two histograms: error at all looks, the exact least over all sets, power, and what it is invariant to."""

from itertools import combinations
from math import inf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.statistics.betting import log_mean
from penstock_operator.statistics.difference import BELOW, Pair, log_factors
from penstock_operator.statistics.distance import (
    by_chance,
    log_e_drifted,
    log_e_farther,
    log_e_nearer,
    total_variation,
    upper_bound,
)

TEN = np.full(10, 0.1)
HISTOGRAMS = st.integers(2, 6).flatmap(
    lambda size: st.tuples(*(st.lists(st.integers(1, 500), min_size=size, max_size=size) for _ in range(2)))
)

COUNTS = st.just(0.0) | st.integers(0, 10**6).map(float) | st.floats(0.001, 1e6)


def _moved(distance: float) -> np.ndarray:
    return TEN + np.array([-1] * 5 + [1] * 5) * distance / 5


def _crossings(distance: float, *, farther: bool) -> int:
    """Of 60 histories, how many ever reach 1 / 0.05, with a margin of 0.15; a tenth of 20,000 rows are the candidate's."""
    rng, crossed = np.random.default_rng(7), 0
    test = log_e_farther if farther else log_e_nearer
    for _ in range(60):
        ours = np.cumsum(rng.multinomial(50, _moved(distance), 40), axis=0).tolist()
        theirs = np.cumsum(rng.multinomial(450, TEN, 40), axis=0).tolist()
        crossed += any(test(ours[look], theirs[look], 0.15) >= log(20) for look in range(1, 40, 3))
    return crossed


def test_answers_at_the_margin_are_rarely_judged_either_way() -> None:
    assert _crossings(0.15, farther=True) <= 60 * 0.05 + 4
    assert _crossings(0.15, farther=False) <= 60 * 0.05 + 4


def test_shifted_answers_are_found_and_equal_ones_are_cleared() -> None:
    assert _crossings(0.3, farther=True) == 60
    assert _crossings(0.0, farther=False) == 60


@settings(max_examples=40)
@given(HISTOGRAMS, st.floats(0, 1, exclude_max=True))
def test_no_set_of_bins_has_a_lesser_e_value(histograms: tuple[list[int], list[int]], margin: float) -> None:
    ours, theirs = histograms
    share = Pair(sum(ours), 0, sum(theirs), 0).share

    def of_set(bins: tuple[int, ...]) -> float:
        hit, other = sum(ours[i] for i in bins), sum(theirs[i] for i in bins)
        counts = (hit, sum(ours) - hit, other, sum(theirs) - other)
        return log_mean(
            (weight, sum(n * log(f) for n, f in zip(counts, log_factors(share, margin, 0.5, odds), strict=True)))
            for odds, weight in BELOW
        )

    sets = (bins for size in range(len(ours) + 1) for bins in combinations(range(len(ours)), size))
    assert log_e_nearer(ours, theirs, margin) <= min(map(of_set, sets)) + 1e-9


@given(
    st.integers(2, 30).flatmap(lambda size: st.tuples(*(st.lists(COUNTS, min_size=size, max_size=size) for _ in range(2)))),
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_the_least_set_of_each_bet_is_made_of_the_bins_that_take_away(
    histograms: tuple[list[float], list[float]], margin: float
) -> None:
    """Bin by bin, as it was found before bins were put in order."""
    ours, theirs = histograms
    pair = Pair(sum(ours), 0.0, sum(theirs), 0.0)
    if pair.empty:
        assert log_e_nearer(ours, theirs, margin) == 0.0
        return
    found = []
    for odds, weight in BELOW:
        hit, miss, other_hit, other_miss = map(log, log_factors(pair.share, margin, 0.5, odds))
        changes = [a * (hit - miss) + b * (other_hit - other_miss) for a, b in zip(ours, theirs, strict=True)]
        taken = sum(change for change in changes if change < 0.0)
        found.append((weight, pair.candidate_units * miss + pair.baseline_units * other_miss + taken))
    assert log_e_nearer(ours, theirs, margin) == pytest.approx(log_mean(found), rel=1e-9, abs=1e-6)


def test_a_margin_that_no_answers_can_break_is_kept_by_whatever_answers() -> None:
    for margin in (1.0, 2.0):
        assert log_e_nearer([500, 0], [0, 5000], margin) == log_e_nearer([250, 250], [2500, 2500], margin) == inf
        assert log_e_farther([500, 0], [0, 5000], margin) <= 0.0
        assert log_e_nearer([0, 0], [0, 5000], margin) == 0.0
    assert upper_bound([500, 0], [0, 5000], 5.0) == 1.0


@given(HISTOGRAMS, st.floats(0.5, 8.0))
def test_a_bound_is_where_the_e_value_comes_to_the_threshold(histograms: tuple[list[int], list[int]], needed: float) -> None:
    most = upper_bound(*histograms, needed)
    assert most == 1.0 or log_e_nearer(*histograms, most) >= needed
    assert most == 0.0 or log_e_nearer(*histograms, most - 2**-11) < needed


@settings(max_examples=40)
@given(HISTOGRAMS, st.floats(0.05, 0.5))
def test_the_other_way_round_is_the_same_distance_and_mirrored_bins_too(
    histograms: tuple[list[int], list[int]], margin: float
) -> None:
    ours, theirs = histograms
    for test in (log_e_nearer, log_e_farther):
        assert test(ours[::-1], theirs[::-1], margin) == pytest.approx(test(ours, theirs, margin), abs=1e-6)
    assert total_variation(ours, theirs) == pytest.approx(total_variation(theirs, ours))


@settings(max_examples=20)
@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=20), st.integers(20, 2000), st.integers(0, 2**32))
def test_a_sample_is_hardly_ever_farther_from_its_origin_than_by_chance(weights: list[float], rows: int, seed: int) -> None:
    shares = np.array(weights) / sum(weights)
    drawn = np.random.default_rng(seed).multinomial(rows, shares, size=1000)
    farther = sum(total_variation(sample, shares * 1e6) > by_chance(sample, 0.01) for sample in drawn.tolist())
    assert farther <= 25


def test_drift_is_told_beyond_the_margin_only() -> None:
    assert log_e_drifted([6000, 4000], [5000, 5000], 0.05) > log(100)
    assert log_e_drifted([540, 460], [5000, 5000], 0.05) <= 0.0
    assert log_e_drifted([0, 0], [5, 5], 0.05) == 0.0
    # A label that training had none of.
    assert log_e_drifted([1, 999], [0, 1000], 0.0) == inf

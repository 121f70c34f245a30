"""Several stretches of one experiment under one bet: as one where they are one, and valid where shares and rates differ."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.statistics.difference import (
    Pair,
    log_e_above,
    log_e_above_all,
    log_e_below,
    log_e_below_all,
    lower_bound_all,
    upper_bound_all,
)

COUNTS = st.tuples(st.integers(1, 5000), st.floats(0, 1), st.integers(1, 5000), st.floats(0, 1))


def pair(counts: tuple[int, float, int, float]) -> Pair:
    ours, a, theirs, b = counts
    return Pair(ours, round(ours * a), theirs, round(theirs * b))


@settings(max_examples=25)
@given(COUNTS, st.floats(0, 1), st.sampled_from([0.0, 0.15]))
def test_one_stretch_is_as_without(counts: tuple[int, float, int, float], margin: float, centre: float) -> None:
    one = pair(counts)
    assert log_e_above_all([one], margin, centre) == pytest.approx(log_e_above(one, margin, centre), abs=1e-9)
    assert log_e_below_all([one], margin, centre) == pytest.approx(log_e_below(one, margin, centre), abs=1e-9)
    assert log_e_above_all([one, Pair(0, 0, 7, 1)], margin, centre) == log_e_above_all([one], margin, centre)
    assert log_e_above_all([], margin, centre) == 0.0


@settings(max_examples=25)
@given(st.lists(COUNTS, min_size=2, max_size=4))
def test_no_order_matters_and_bounds_are_in_order(several: list[tuple[int, float, int, float]]) -> None:
    pairs = [pair(counts) for counts in several]
    turned = sorted(pairs, key=lambda each: each.candidate_hits)
    assert log_e_above_all(pairs, 0.02, 0.15) == pytest.approx(log_e_above_all(turned, 0.02, 0.15), abs=1e-6)
    assert math.isfinite(log_e_below_all(pairs, 0.02, 0.15))
    assert lower_bound_all(pairs, 5.0, 0.15) <= 1.0
    assert upper_bound_all(pairs, 5.0, 0.15) >= -1.0


def test_an_e_value_has_a_mean_of_at_most_one_where_shares_and_rates_change() -> None:
    """Worse by exactly the margin in both stretches, 5 % and 50 %, at rates of 0.1 and 0.4."""
    rng = np.random.default_rng(4)
    values = []
    for _ in range(4000):
        pairs = []
        for share, rate in ((0.05, 0.1), (0.5, 0.4)):
            ours = rng.binomial(300, share)
            theirs = 300 - ours
            pairs.append(Pair(ours, rng.binomial(ours, rate + 0.02), theirs, rng.binomial(theirs, rate)))
        values.append(math.exp(log_e_above_all(pairs, 0.02, 0.15)))
    # Four standard errors; the mean is 1 but for the share that is taken from the counts.
    assert np.mean(values) <= 1.0 + 4 * np.std(values) / math.sqrt(len(values)) + 0.05

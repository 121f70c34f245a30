"""The interval of a proportion: against scipy's, and at its ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from penstock_cli.rollout.simulate.interval import clopper_pearson


@given(st.integers(0, 60), st.integers(1, 3000), st.sampled_from([0.9, 0.95, 0.99]))
def test_it_is_scipys(events: int, trials: int, confidence: float) -> None:
    events = min(events, trials)
    expected = binomtest(events, trials).proportion_ci(confidence)
    assert clopper_pearson(events, trials, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_is_known_without_trials_and_none_of_many_is_rare() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    low, high = clopper_pearson(0, 1000)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / 1000))

"""The fixed bins: every value lies within the bounds of its bin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.evidence.scales import (
    DIFFERENCE_BINS,
    LATENCY_BINS,
    LATENCY_HALVES,
    RATIO_HALVES,
    difference_bin,
    difference_bounds,
    half_bounds_s,
    latency_bin,
    latency_bounds_s,
    latency_half,
    ratio_half,
    ratio_half_bounds,
)


@given(st.floats(1.01e-4, 100.0))
def test_a_latency_lies_in_its_bin(seconds: float) -> None:
    for low, high in (latency_bounds_s(latency_bin(seconds)), half_bounds_s(latency_half(seconds))):
        assert low * (1 - 1e-9) <= seconds <= high * (1 + 1e-9)


def test_a_bin_is_its_two_halves() -> None:
    for number in range(LATENCY_BINS):
        (low, middle), (same, high) = half_bounds_s(2 * number), half_bounds_s(2 * number + 1)
        assert (low, high) == latency_bounds_s(number)
        assert middle == same == pytest.approx((low * high) ** 0.5)


@given(st.floats(1e-3, 900.0))
def test_a_ratio_lies_in_its_bin(ratio: float) -> None:
    low, high = ratio_half_bounds(ratio_half(ratio))
    assert low * (1 - 1e-9) <= ratio <= high * (1 + 1e-9)


@given(st.floats(-90.0, 90.0))
def test_a_difference_lies_in_its_bin(difference: float) -> None:
    low, high = difference_bounds(difference_bin(difference))
    assert low * (1 - 1e-9) <= abs(difference) <= high * (1 + 1e-9)


@given(st.floats())
def test_anything_has_a_bin(value: float) -> None:
    assert 0 <= difference_bin(value) < DIFFERENCE_BINS
    assert 0 <= latency_bin(value) < LATENCY_BINS
    assert 0 <= latency_half(value) < LATENCY_HALVES
    assert 0 <= ratio_half(value) < RATIO_HALVES


@pytest.mark.parametrize(("seconds", "number"), [(-1.0, 0), (0.0, 0), (1e-4, 0), (1e-3, 26), (1.0, 106), (1e6, 159)])
def test_latencies_at_hand(seconds: float, number: int) -> None:
    assert latency_bin(seconds) == number


def test_a_ratio_of_one_is_in_the_middle() -> None:
    assert (ratio_half(1.0), ratio_half(0.0)) == (160, 0)

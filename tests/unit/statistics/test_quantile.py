"""The ratio of quantiles on counts in logarithmic bins: error at all looks, shared slowness, power, invariance."""

from collections import Counter
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.statistics import proportion
from penstock_operator.statistics.betting import log_mean
from penstock_operator.statistics.difference import Pair, log_e_below
from penstock_operator.statistics.quantile import Sample, log_e_longer, log_e_no_longer, shift_over, shift_within

PER_DOUBLING = 8


def _sample(latencies: np.ndarray) -> Sample:
    return Sample.of(Counter(np.floor(PER_DOUBLING * np.log2(latencies / 1e-4)).astype(int).tolist()))


def _crossings(slower: float, tail: float, shift: int, *, longer: bool, outage: bool = False) -> int:
    """Of 60 histories, how many ever reach 1 / 0.05. 20 looks at 200 requests, a quarter of them the candidate's."""
    rng, crossed = np.random.default_rng(6), 0
    test = log_e_longer if longer else log_e_no_longer
    for _ in range(60):
        shared = np.repeat(np.where((np.arange(20) // 5 == 2) & outage, 4.0, 1.0), 200)
        latencies = 0.02 * shared * np.exp(0.5 * rng.standard_normal(4000))
        ours = rng.random(4000) < 0.25
        latencies[ours] *= slower
        for look in range(400, 4001, 400):
            seen, whose = latencies[:look], ours[:look]
            if test(_sample(seen[whose]), _sample(seen[~whose]), tail, shift) >= log(20):
                crossed += 1
                break
    return crossed


@pytest.mark.parametrize("tail", [0.5, 0.1, 0.01])
def test_a_version_as_slow_as_its_margin_is_rarely_called_slower(tail: float) -> None:
    assert _crossings(2 ** (3 / 8), tail, shift_over(1.25, PER_DOUBLING), longer=True, outage=tail == 0.1) <= 60 * 0.05 + 4


@pytest.mark.parametrize("tail", [0.5, 0.1])
def test_a_version_slower_than_its_margin_is_rarely_called_harmless(tail: float) -> None:
    assert _crossings(2 ** (2 / 8), tail, shift_within(1.25, PER_DOUBLING), longer=False, outage=tail == 0.1) <= 60 * 0.05 + 4


def test_doubled_latency_is_found_and_equal_latency_is_cleared() -> None:
    assert _crossings(2.0, 0.5, shift_over(1.25, PER_DOUBLING), longer=True) == 60
    assert _crossings(1.0, 0.5, shift_within(1.25, PER_DOUBLING), longer=False) >= 55


def _at(shares: dict[float, float], requests: int) -> Sample:
    """So many requests, of which each share takes so many seconds."""
    return _sample(np.repeat(list(shares), [round(requests * share) for share in shares.values()]))


def test_a_median_that_is_longer_by_less_than_the_margin_is_never_called_longer_whatever_its_shape() -> None:
    """The quantile is anywhere in its bin: 1.2 times as long is three bins from one lower edge to another."""
    edge = 1e-4 * 2 ** (60 / PER_DOUBLING)
    baseline, candidate = _at({edge / 2: 0.48, edge * 1.085: 0.52}, 20_000), _at({edge / 2: 0.4, edge * 1.085 * 1.2: 0.6}, 20_000)
    assert log_e_longer(candidate, baseline, 0.5, shift_over(1.25, PER_DOUBLING)) < log(20)
    slower = _at({edge / 2: 0.4, edge * 1.085 * 1.4: 0.6}, 20_000)
    assert log_e_longer(slower, baseline, 0.5, shift_over(1.25, PER_DOUBLING)) > log(20)


def test_a_tail_that_is_five_times_as_long_is_not_let_by_for_being_half_as_frequent() -> None:
    """Of the baseline 3 % take 100 ms, so that its p99 is there; of the candidate 1.5 % take 500 ms."""
    within = shift_within(1.25, PER_DOUBLING)
    baseline = _at({0.02: 0.97, 0.1: 0.03}, 200_000)
    assert log_e_no_longer(_at({0.02: 0.985, 0.5: 0.015}, 200_000), baseline, 0.01, within) < log(20)
    assert log_e_no_longer(_at({0.02: 0.985, 0.1: 0.015}, 200_000), baseline, 0.01, within) > log(20)


@pytest.mark.parametrize("lump", [0.9, 0.99, 0.999, 1.0])
def test_a_version_ten_times_as_slow_is_found_though_the_baseline_is_one_lump(lump: float) -> None:
    """A model that takes a second on every request, give or take one per cent, is in one bin."""
    baseline = _at({1.0: lump, 1.1: 1.0 - lump}, 2000)
    found = [log_e_longer(_at({10.0: 1.0}, 200), baseline, tail, shift_over(1.25, PER_DOUBLING)) for tail in (0.5, 0.1, 0.01)]
    assert max(found) > log(1000)
    assert max(log_e_longer(_at({1.1: 1.0}, 200), baseline, tail, shift_over(1.25, PER_DOUBLING)) for tail in (0.5, 0.1)) <= 0.0


@settings(max_examples=40)
@given(
    st.dictionaries(st.integers(0, 40), st.integers(1, 500), min_size=1), st.integers(1, 30), st.sampled_from([0.5, 0.1, 0.01])
)
def test_the_unit_of_time_does_not_matter(counts: dict[int, int], moved: int, tail: float) -> None:
    other = {number + 3: count for number, count in counts.items()}

    def e_values(by: int) -> tuple[float, float]:
        candidate, baseline = (Sample.of({number + by: n for number, n in each.items()}) for each in (other, counts))
        return log_e_longer(candidate, baseline, tail, 3), log_e_no_longer(candidate, baseline, tail, 3)

    assert e_values(0) == pytest.approx(e_values(moved), abs=1e-9) or min(counts) == 0


@settings(max_examples=40)
@given(st.dictionaries(st.integers(0, 60), st.integers(1, 2000), min_size=1), st.sampled_from([0.5, 0.1, 0.01]))
def test_the_quantile_is_the_one_of_the_counts(counts: dict[int, int], tail: float) -> None:
    values = sorted((number for number, count in counts.items() for _ in range(count)), reverse=True)
    place = Sample.of(counts).bin_of(tail)
    assert sum(value >= place for value in values) >= tail * len(values) > sum(value > place for value in values)


@settings(max_examples=60)
@given(
    *(st.dictionaries(st.integers(20, 50), st.integers(1, 2000), min_size=1) for _ in range(2)),
    st.integers(-6, 6),
    st.sampled_from([0.5, 0.1, 0.01]),
)
def test_no_bin_has_a_lesser_e_value(ours: dict[int, int], theirs: dict[int, int], shift: int, tail: float) -> None:
    """As the formula has it, over all bins."""
    candidate, baseline = Sample.of(ours), Sample.of(theirs)

    def of_bin(number: int) -> float:
        above, above_next = baseline.above(number), baseline.above(number + 1)
        pair = Pair(candidate.total, candidate.above(number + shift), baseline.total, above)
        beyond = proportion.log_e_below(candidate.above(number + 1 + shift), candidate.total, tail)
        compared = min(log_e_below(pair, 0.0, tail), beyond)
        too_high = proportion.log_e_below(above, baseline.total, tail)
        too_low = proportion.log_e_above(above_next, baseline.total, tail)
        misplaced = log_mean(((0.5, too_high), (0.5, too_low)))
        return log_mean(((0.9, compared), (0.1, misplaced)))

    least = min(map(of_bin, range(len(baseline.beyond) + 1)))
    assert log_e_no_longer(candidate, baseline, tail, shift) == pytest.approx(least, rel=1e-9, abs=1e-9)


def test_nothing_says_nothing() -> None:
    assert log_e_longer(Sample.of({}), Sample.of({}), 0.5, 3) == 0.0
    assert log_e_longer(Sample.of({}), Sample.of({30: 1000}), 0.5, 3) <= 0.0
    assert log_e_longer(Sample.of({90: 1000}), Sample.of({}), 0.5, 3) == 0.0

"""Distance from training: what is established is never more than what is, but for the stated chance; and what is far is found."""

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.evidence.document import Bins, Training
from penstock.evidence.profiles import read_profile
from penstock_transformer.feedback.trigger.drift import Tally, distance

EDGES = tuple(n / 10 for n in range(11))


def numbers(counts: list[int], missing: int = 0) -> Training:
    """Training over ten equal bins of 0 to 1, as a profile has it."""
    return Training(Bins(edges=EDGES), (0, *counts, 0, 0, missing))


def test_what_is_of_training_is_not_found_to_be_far() -> None:
    chance, found = random.Random(5), 0
    for _ in range(300):
        counts = [0] * 10
        for _ in range(300):
            counts[int(chance.random() * 10)] += 1
        tally = Tally(numbers(counts))
        for _ in range(400):
            tally.add(chance.random(), 1.0)
        seen = tally.distance(0.01)
        assert seen is not None
        assert 0 < seen.seen < 0.3
        found += seen.established > 0
    assert found == 0


def test_what_is_far_is_found_and_by_how_much() -> None:
    chance, tally = random.Random(6), Tally(numbers([30] * 10))
    for _ in range(2000):
        # 0.5 away: all in the upper half.
        tally.add(0.5 + chance.random() / 2, 1.0)
    found = tally.distance(0.01)
    assert found is not None
    assert found.seen == pytest.approx(0.5, abs=0.02)
    assert 0.25 < found.established < 0.5


def test_values_land_in_the_bins_of_the_profile() -> None:
    tally = Tally(numbers([1] * 10))
    for value, place in ((-1.0, 0), (0.0, 1), (0.05, 1), (0.95, 10), (1.0, 11), (1.5, 12), (None, 13), (math.nan, 13), ("x", 13)):
        before = list(tally.counts)
        tally.add(value, 1.0)
        assert [at for at, (one, other) in enumerate(zip(tally.counts, before, strict=True)) if one != other] == [place], value
    words = Tally(Training(Bins(values=("AA", "true")), (3, 1, 0, 0)))
    for value, place in (("AA", 0), (True, 1), ("ZZ", 2), (None, 3)):
        before = list(words.counts)
        words.add(value, 2.0)
        assert words.counts[place] == before[place] + 2.0


def test_rows_count_by_their_chance() -> None:
    even, uneven = Tally(numbers([30] * 10)), Tally(numbers([30] * 10))
    for at in range(1000):
        even.add(at / 1000, 1.0)
        # The upper half is logged ten times as rarely, and stands for ten times as many.
        if at < 500 or at % 10 == 0:
            uneven.add(at / 1000, 1.0 if at < 500 else 10.0)
    one, other = even.distance(0.01), uneven.distance(0.01)
    assert one is not None
    assert other is not None
    assert one.seen == pytest.approx(0.0, abs=1e-9)
    assert other.seen == pytest.approx(0.0, abs=0.02)
    assert other.rows < 200 < one.rows == pytest.approx(1000)


def test_nothing_is_said_without_rows_on_either_side() -> None:
    assert Tally(numbers([1] * 10)).distance(0.01) is None
    empty = Tally(numbers([0] * 10))
    empty.add(0.5, 1.0)
    assert empty.distance(0.01) is None


@given(
    live=st.lists(st.integers(0, 500), min_size=12, max_size=12),
    trained=st.lists(st.integers(0, 500), min_size=12, max_size=12),
    alpha=st.floats(1e-6, 0.5),
)
def test_a_distance_is_between_nought_and_one_and_no_more_is_established(
    live: list[int], trained: list[int], alpha: float
) -> None:
    rows, many = sum(live), sum(trained)
    if rows and many:
        found = distance(live, trained, float(rows), float(many), alpha)
        assert 0 <= found.established <= found.seen <= 1 + 1e-12


def test_a_profile_as_it_is_written_is_its_own_training() -> None:
    profile = {"features": {"x": {"type": "float64", "missing": 0.0, "edges": [0.0, 0.5, 1.0], "counts": [2, 2]}}}
    tally = Tally(read_profile(json.dumps(profile).encode()).features["x"])
    for value in (0.0, 0.25, 0.5, 1.0):
        tally.add(value, 1.0)
    found = tally.distance(0.01)
    assert found is not None
    assert found.seen == 0.0

"""profile.json as `bundle build` writes it, and bins that two bundles share."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bundle.profile import write_profile
from penstock.evidence.document import Bins, Histogram
from penstock.evidence.profiles import NOTHING, against_training, coarsened, common, name_value, read_profile

EDGES = st.lists(st.integers(-5, 5), min_size=1, max_size=6, unique=True).map(lambda found: tuple(map(float, sorted(found))))


def counted(bins: Bins, values: list[float]) -> list[int]:
    """The definition, one value at a time."""
    found = [0] * bins.size
    edges = bins.edges
    for value in values:
        if value > edges[-1]:
            found[-2] += 1
        else:
            found[sum(1 for edge in edges if edge <= value)] += 1
    return found


@given(EDGES, EDGES, st.lists(st.floats(-6, 6).map(lambda x: round(x * 2) / 2)))
def test_common_bins_are_made_back_into_either(ours: tuple[float, ...], theirs: tuple[float, ...], values: list[float]) -> None:
    shared = common([Bins(edges=ours), Bins(edges=theirs)])
    assert shared is not None
    fine = counted(shared, values)
    assert sum(fine) == len(values)
    for edges in (ours, theirs):
        coarse, wanted = coarsened(shared, fine, Bins(edges=edges)), counted(Bins(edges=edges), values)
        if edges[-1] == shared.edges[-1]:
            assert coarse == wanted
        # Exactly the last edge cannot be told from what lies just above it, where the other bundle has edges there.
        assert coarse[: len(edges)] == wanted[: len(edges)]
        assert sum(coarse) == len(values)


def test_common_values() -> None:
    shared = common([Bins(values=("late", "on time")), Bins(values=("cancelled", "late"))])
    assert shared == Bins(values=("cancelled", "late", "on time"))
    assert coarsened(shared, [1, 2, 4, 8, 16], Bins(values=("late", "on time"))) == [2, 4, 9, 16]


def test_numbers_and_texts_have_nothing_in_common() -> None:
    assert common([Bins(edges=(1.0,)), Bins(values=("a",))]) is None
    assert common([]) is None


def test_a_profile_as_it_is_built() -> None:
    rng = np.random.default_rng(7)
    scores = rng.random(1000).tolist()
    predictions = [{"label": "late" if s > 0.5 else "on time", "scores": {"on time": 1 - s, "late": s}} for s in scores]
    profile = read_profile(write_profile(None, {}, predictions))
    assert sorted(profile.outputs) == ["label", "scores.late", "scores.on time"]
    late = profile.outputs["scores.late"]
    assert (len(late.bins.edges), sum(late.counts)) == (11, 1000)
    assert profile.spreads["scores.late"] == pytest.approx(np.std(scores))
    assert profile.outputs["label"].bins.values == ("late", "on time")
    live = counted(late.bins, [float(f"{s:.9g}") for s in scores])
    found = against_training(Histogram(late.bins, live, late))
    assert found is not None
    assert max(abs(a - b) for a, b in zip(*found, strict=True)) <= 2  # edges have nine digits


def test_values_of_a_regression_and_of_a_decision() -> None:
    numbers = read_profile(write_profile(None, {}, [{"value": float(v)} for v in range(100)]))
    assert numbers.outputs["value"].bins.edges[-1] == 99.0
    flags = read_profile(write_profile(None, {}, [{"value": v % 3 == 0} for v in range(100)]))
    assert flags.outputs["value"].bins.values == ("false", "true")


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"features": 3, "predictions": []}', b'{"features": {"a": {"edges": ["x"]}, "b": {"values": []}}}'],
)
def test_a_profile_of_another_form_has_nothing(content: bytes) -> None:
    assert read_profile(content) == NOTHING


@pytest.mark.parametrize("number", [int("9" * 400), -int("9" * 400), math.inf, math.nan], ids=["long", "negative", "inf", "nan"])
def test_a_number_that_no_float_holds_is_none(number: float) -> None:
    told = {"edges": [0, 1], "counts": [3]}
    features = {
        "edge": {**told, "edges": [0, number]},
        "count": {**told, "counts": [number]},
        "share": {**told, "missing": number},
    }
    predictions = {"values": {**told, "std": number}, "labels": {"values": {"late": number, "on time": 3}}}
    profile = read_profile(json.dumps({"features": features, "predictions": predictions}).encode())
    assert {name: training.counts for name, training in profile.features.items()} == {
        "count": (0, 0, 0, 0, 0),
        "share": (0, 3, 0, 0, 0),
    }
    assert profile.outputs["label"].bins.values == ("on time",)
    assert profile.spreads == {}


@pytest.mark.parametrize("count", [-1, 1e308, 10**308], ids=["negative", "float", "long"])
def test_a_count_that_nobody_can_have_counted_is_none(count: float) -> None:
    features = {"a": {"edges": [0, 1], "counts": [count], "missing": 0.99}, "b": {"values": {"x": count}, "missing": 0.99}}
    profile = read_profile(json.dumps({"features": features}).encode())
    assert (profile.features["a"].counts, profile.features["b"].counts) == ((0, 0, 0, 0, 0), (0, 0))


def test_live_values_are_named_as_training_named_them() -> None:
    values = [True, False, "late", 3]
    for value in values:
        profile = read_profile(write_profile(None, {}, [{"label": value}]))
        assert profile.outputs["label"].bins.values == (name_value(value),)


def test_missing_values_are_a_bin() -> None:
    content = json.dumps({"features": {"seats": {"missing": 0.5, "edges": [1, 2], "counts": [4]}}}).encode()
    assert read_profile(content).features["seats"].counts == (0, 4, 0, 0, 4)


def test_a_single_value_is_a_bin() -> None:
    content = json.dumps({"features": {"year": {"missing": 0.0, "edges": [2013.0], "counts": [40]}}}).encode()
    assert read_profile(content).features["year"].counts == (0, 40, 0, 0)

"""Which requests are logged: the share, what rarity does to it, and that the chances undo it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_transformer.feedback.sampling import Sampler, bin_of


def labelled(label: str, score: float) -> dict[str, object]:
    return {"label": label, "scores": {"a": 1 - score, "b": score}}


def test_without_rarity_everybody_has_the_same_chance() -> None:
    sampler = Sampler(0.25)
    assert {sampler.chance("x", [labelled("a", 0.1)]), sampler.chance("x", [labelled("b", 0.9)])} == {0.25}
    assert Sampler(0.25, draw=lambda: 0.24).taken(0.25)
    assert not Sampler(0.25, draw=lambda: 0.25).taken(0.25)
    assert Sampler(1.0, draw=lambda: 0.999).taken(1.0)


def test_rare_answers_are_logged_more_and_the_share_stays() -> None:
    draw = random.Random(7).random
    sampler = Sampler(0.05, 0.8, draw=draw)
    asked, logged = {"a": 0, "b": 0}, {"a": 0, "b": 0}
    for _ in range(20_000):
        label = "b" if draw() < 0.01 else "a"
        asked[label] += 1
        logged[label] += sampler.taken(sampler.chance("x", [{"label": label}]))
    assert logged["b"] / asked["b"] > 10 * logged["a"] / asked["a"]
    assert 0.03 < sum(logged.values()) / 20_000 < 0.06


def test_weights_by_the_chance_undo_the_sampling() -> None:
    draw = random.Random(11).random
    sampler = Sampler(0.1, 1.0, draw=draw)
    total = weighted = 0.0
    for _ in range(40_000):
        value = 1.0 if draw() < 0.03 else 0.0
        chance = sampler.chance("x", [{"label": str(value)}])
        total += value
        if sampler.taken(chance):
            weighted += value / chance
    assert weighted == pytest.approx(total, rel=0.1)


@given(st.floats(0.001, 1), st.floats(0, 1), st.lists(st.sampled_from("abcd"), min_size=1, max_size=200))
def test_a_chance_is_one(rate: float, rarity: float, labels: list[str]) -> None:
    sampler = Sampler(rate, rarity)
    for label in labels:
        assert 0 < sampler.chance("x", [{"label": label}]) <= 1


def test_kinds_of_answers() -> None:
    assert bin_of(labelled("b", 0.91)) == bin_of(labelled("b", 0.97)) != bin_of(labelled("b", 0.55))
    assert bin_of({"value": 3.9}) == bin_of({"value": 2.1}) != bin_of({"value": -2.1})
    assert bin_of({"value": True}) != bin_of({"value": False})
    assert bin_of({"outputs": {}}) == "None"


def test_kinds_without_number_are_one() -> None:
    sampler = Sampler(0.1, 0.5)
    for number in range(1000):
        sampler.chance("x", [{"label": str(number)}])
    assert len(sampler._bins["x"]) <= 257

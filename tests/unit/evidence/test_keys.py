"""Keys in windows: what fails together counts once, and which keys are looked at is the same for all bundles."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.statistics.difference import Pair, log_e_above
from penstock_transformer.evidence import keys as module
from penstock_transformer.evidence.keys import NO_WINDOW, WINDOW_S, KeySums, KeyWindow

MARGIN = 0.005


def test_a_key_counts_once_a_window_until_it_fails() -> None:
    window = KeyWindow()
    window.begin(0.0)
    sums = KeySums(window)
    for kind in (None, "internal", "deadline_exceeded", None, "internal"):
        sums.count("anna", kind)
    sums.count("bert", None)
    assert (sums.keys, sums.failed_keys, sums.unkeyed) == (2, {"internal": 1}, 0)
    window.begin(window.end_s)
    for name in ("anna", "anna", "bert"):
        sums.count(name, "internal")
    assert (sums.keys, sums.failed_keys) == (3, {"internal": 2})


def test_the_first_request_of_a_key_in_a_window_is_told() -> None:
    window = KeyWindow()
    window.begin(0.0)
    sums = KeySums(window)
    assert [sums.count("anna", None), sums.count("anna", None), sums.count("bert", "internal")] == [True, False, True]
    window.begin(window.end_s)
    # Who has failed is not looked at any more.
    assert [sums.count("anna", None), sums.count("bert", None)] == [True, False]


def test_so_many_keys_that_have_failed_are_remembered(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 4)
    window = KeyWindow()
    sums = [KeySums(window), KeySums(window)]
    for number in range(3):
        window.begin(number * WINDOW_S)
        monkeypatch.setattr(window, "mask", 0)
        for one in sums:
            for key in ("a", "b"):
                one.count(key, "internal")
        assert [one.keys for one in sums] == [2 * (number + 1)] * 2


def test_one_caller_with_nearly_all_requests_is_one_key() -> None:
    sums = KeySums(KeyWindow())
    for _ in range(900):
        sums.count("loud", "internal")
    for n in range(100):
        sums.count(f"quiet {n}", None)
    assert (sums.keys, sum(sums.failed_keys.values())) == (101, 1)


def test_a_full_window_is_full_for_all_bundles(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 3)
    window = KeyWindow()
    window.begin(0.0)
    one, other = KeySums(window), KeySums(window)
    for key in ("a", "b", "c"):
        one.count(key, None)
    for key in ("d", "e", "d"):
        other.count(key, "internal")
    one.count("a", "internal")
    assert (one.keys, one.failed_keys, one.unkeyed) == (3, {"internal": 1}, 0)
    assert (other.keys, other.failed_keys, other.unkeyed) == (0, {}, 3)


def test_sums_of_a_route_that_is_over_give_back_their_room(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 2)
    window = KeyWindow()
    window.begin(0.0)
    over, kept = KeySums(window), KeySums(window)
    over.count("a", "internal")
    kept.count("a", None)
    assert not kept.count("b", None)
    window.keep([kept])
    assert kept.count("b", None)
    assert not over.seen
    assert not over.failed


def test_a_request_without_a_key_is_a_key() -> None:
    sums = KeySums(KeyWindow())
    sums.count_lone("internal")
    sums.count_lone("internal")
    sums.count_lone(None)
    assert (sums.keys, sums.failed_keys) == (3, {"internal": 2})


def test_what_began_in_a_window_counts_in_it_though_it_ends_in_the_next() -> None:
    window = KeyWindow()
    sums = KeySums(window)
    first = window.at(0.0)
    assert sums.count("anna", None, first)
    second = window.at(WINDOW_S)
    assert second == first + 1
    # The key has counted in the first, and not yet in the second.
    assert not sums.count("anna", None, first)
    assert sums.count("anna", None, second)
    assert sums.count("bert", None, first)
    window.at(2 * WINDOW_S)
    assert not sums.count("carl", None, first)
    assert not sums.count("carl", None, NO_WINDOW)
    assert (sums.keys, sums.unkeyed) == (3, 2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.booleans(), st.integers(0, 25)), max_size=400))
def test_memory_is_bounded_whatever_comes(came: list[tuple[int, int, bool, int]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "MAX_KEYS", 50)
        window, now_s = KeyWindow(), 0.0
        bundles = [KeySums(window) for _ in range(3)]
        for key, at, failed, passed_s in came:
            now_s += passed_s
            window.at(now_s)
            bundles[at].count(str(key), "internal" if failed else None)
            assert sum(len(one.seen) for one in bundles) <= 50
            assert sum(len(one.last) for one in bundles) <= 50
            assert sum(len(one.failed) for one in bundles) <= 100
        assert all(sum(one.failed_keys.values()) <= one.keys for one in bundles)


@settings(max_examples=8, deadline=None)
@given(st.integers(20, 120), st.integers(1, 19), st.integers(0, 1000))
def test_steady_traffic_fills_no_window_but_the_first_and_who_is_left_out_is_by_hash_alone(
    rate: int, weight: int, seed: int
) -> None:
    random = Random(seed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "MAX_KEYS", 600)
        window = KeyWindow()
        stable, candidate = KeySums(window), KeySums(window)
        for number in range(3 * 60):
            now_s = float(number)
            window.at(now_s)
            left = stable.unkeyed + candidate.unkeyed
            chosen = 0
            for _ in range(rate):
                key = random.random()
                chosen += not hash(str(key)) & window.mask
                (candidate if random.random() * 20 < weight else stable).count(str(key), None)
            if number >= 60:
                assert rate - chosen == stable.unkeyed + candidate.unkeyed - left


def _outage(seed: int, sums: tuple[KeySums, KeySums], window: KeyWindow, minutes: int) -> Pair:
    """200 keys a second, each once, 95 % of them at the first: an outage of both in the last 17 s of each minute."""
    chance = Random(seed)
    for second in range(60 * minutes):
        window.at(float(second))
        for number in range(200):
            failed = second % 60 >= 43 and chance.random() < 0.5
            sums[chance.random() < 0.05].count(f"{seed}/{second}/{number}", "internal" if failed else None)
    stable, candidate = sums
    return Pair(candidate.keys, sum(candidate.failed_keys.values()), stable.keys, sum(stable.failed_keys.values()))


@pytest.mark.parametrize("most", [module.MAX_KEYS, 8192, 3000])
def test_an_outage_of_all_at_the_end_of_a_minute_cancels(monkeypatch: Any, most: int) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", most)
    for seed in range(5):
        window = KeyWindow()
        pair = _outage(seed, (KeySums(window), KeySums(window)), window, 3)
        assert pair.baseline_hits > 50
        # By chance alone once in 160,000 runs.
        assert log_e_above(pair, MARGIN) < 12.0


def test_where_copies_are_drawn_anew_a_key_that_failed_counts_again_in_the_next_window() -> None:
    window = KeyWindow()
    first = window.at(0.0)
    sums = KeySums(window, anew=True)
    for kind in ("internal", "internal", None):
        sums.count("anna", kind, first)
    second = window.at(window.end_s)
    # What began in the window before is late, and has been counted.
    assert not sums.count("anna", "internal", first)
    assert sums.failed_keys == {"internal": 1}
    assert sums.count("anna", "internal", second)
    assert (sums.keys, sums.failed_keys) == (2, {"internal": 2})


@pytest.mark.parametrize(("anew", "fair"), [(True, True), (False, False)])
def test_keys_that_always_fail_are_the_same_part_of_requests_and_of_copies(anew: bool, fair: bool) -> None:
    """At 100 %: all keys beside a fifth of them, another one each minute."""
    chance, window = Random(1), KeyWindow()
    live, copied = KeySums(window, anew=anew), KeySums(window, anew=anew)
    for minute in range(8):
        number = window.at(minute * WINDOW_S)
        for key in range(1000):
            kind = "internal" if key < 50 else None
            live.count(str(key), kind, number)
            if chance.random() < 0.2:
                copied.count(str(key), kind, number)
    rates = [sums.failed_keys["internal"] / sums.keys for sums in (live, copied)]
    assert (abs(rates[0] - rates[1]) < 0.015) == fair, rates

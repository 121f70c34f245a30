"""Faults of the new version, of the one before it, of both: what is taken back, what is not, and what is said."""

from collections.abc import Callable
from typing import Any

import pytest

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
SHADOW = {"fraction": 0.3, "minRequests": 500}
Make = Callable[..., Any]


def test_a_good_version_goes_live_and_says_why(story: Make) -> None:
    it = story()
    it.run(900, it.is_over)
    assert it.phase == "Live"
    assert it.weights == sorted(it.weights)
    assert it.message.startswith("Live since ")
    assert "0 % of flights-2's requests failed (0 of" in it.message


def test_a_fault_that_comes_only_with_all_requests_takes_it_back_before_it_is_live(story: Make) -> None:
    it = story()
    it.versions.failing_alone = 0.05
    it.run(900, it.is_over)
    assert (it.phase, it.status["reason"], it.weights[-2:]) == ("RolledBack", "WorseThanMargin", [100, 0])
    assert it.message.startswith("Rolled back: ")
    assert "of flights-2's requests failed" in it.message
    # The copies that the version before still gets are what it is compared with.
    assert "against 0 % of flights-1's (0 of" in it.message
    assert it.world.route() == {"flights-1": (100, None)}


def test_one_that_is_slow_only_with_all_requests_is_taken_back_too(story: Make) -> None:
    it = story()
    it.versions.slower_alone = 3.0
    it.run(900, it.is_over)
    assert (it.phase, it.weights[-2:]) == ("RolledBack", [100, 0])
    assert "latency of flights-2 is" in it.message


def test_a_stable_version_that_is_rolled_back_meanwhile_is_compared_with_no_longer(story: Make) -> None:
    it = story(former=True)
    it.versions.failing[OLD] = 0.3
    it.run(30)
    first = it.status["evidence"]["revision"]
    it.world.annotate("flights-1", rollback="it fails")
    it.run(60)
    assert it.world.status("flights-0")["phase"] == "Live"
    assert it.status["evidence"]["revision"] > first
    counted = it.status["evidence"]["analysis"]
    assert counted["baseline"]["failed"] == 0
    assert "of flights-0" in it.message or "flights-0's" in it.message
    it.run(900, it.is_over)
    assert it.phase == "Live"


def test_a_fault_of_the_stable_version_is_not_the_new_ones(story: Make) -> None:
    it = story()
    it.versions.failing[OLD], it.versions.slower[OLD] = 0.1, 3.0
    it.run(900, it.is_over)
    assert it.phase == "Live"
    assert "% of flights-1's" in it.message


def test_a_stable_version_that_answers_nothing_takes_nothing_back(story: Make) -> None:
    it = story()
    it.versions.failing[OLD] = 1.0
    it.run(300, it.is_over)
    assert it.phase == "Canary"
    assert it.message.startswith("Undecided at 50 %: ")


@pytest.mark.parametrize("part", [0.3, 1.0])
def test_both_failing_together_take_nothing_back_and_let_nothing_on(story: Make, part: float) -> None:
    it = story()
    it.versions.failing = {OLD: part, NEW: part}
    it.run(150)
    assert (it.phase, it.status["weight"]) == ("Canary", 50)
    assert it.message.startswith("Undecided at 50 %: ")


def test_an_outage_of_both_that_ends_delays_a_good_version_and_no_more(story: Make) -> None:
    it = story()
    it.run(24)
    it.versions.failing = {OLD: 0.5, NEW: 0.5}
    it.run(30)
    it.versions.failing = {OLD: 0.0, NEW: 0.0}
    it.run(1500, it.is_over)
    assert it.phase == "Live"


def test_a_bad_version_is_found_in_the_middle_of_an_outage_of_both(story: Make) -> None:
    it = story()
    it.versions.failing = {OLD: 0.2, NEW: 0.6}
    it.run(300, it.is_over)
    assert it.phase == "RolledBack"


def test_a_shadow_that_is_slow_is_out_before_anybody_was_answered_by_it(story: Make) -> None:
    it = story(shadow=SHADOW)
    it.versions.slower[NEW] = 3.0
    it.run(300, it.is_over)
    assert (it.phase, max(it.weights)) == ("RolledBack", 0)
    assert "on the same requests flights-2 takes" in it.message
    assert "times as long as flights-1 in the median" in it.message
    assert it.message.endswith("established to be over the margin of 1.5.")


def test_a_shadow_that_gives_other_labels_is_out(story: Make) -> None:
    it = story(shadow=SHADOW)
    it.versions.swapped = True
    it.run(300, it.is_over)
    assert (it.phase, max(it.weights)) == ("RolledBack", 0)
    assert "flights-2 gives another label than flights-1 to 100 % of requests" in it.message


def test_a_shadow_that_fails_is_out(story: Make) -> None:
    it = story(shadow=SHADOW)
    it.versions.failing[NEW] = 0.1
    it.run(300, it.is_over)
    assert (it.phase, max(it.weights)) == ("RolledBack", 0)
    assert "copied requests that flights-1 answered" in it.message


def test_a_shadow_of_which_every_copy_and_every_answer_fails_goes_no_further(story: Make) -> None:
    it = story(shadow=SHADOW)
    it.versions.failing = {OLD: 1.0, NEW: 1.0}
    it.run(120)
    assert (it.phase, max(it.weights)) == ("Shadow", 0)

"""Faults of the traffic: none, one that stops, one caller who makes nearly all of it."""

from collections.abc import Callable
from typing import Any

import pytest

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
Make = Callable[..., Any]
CHOICES = [("wait", "Canary"), ("rollBack", "RolledBack"), ("promote", "Live")]


@pytest.mark.parametrize(("choice", "phase"), CHOICES)
def test_without_any_requests_it_waits_and_then_the_user_has_chosen(story: Make, choice: str, phase: str) -> None:
    it = story(maxDuration="10m", onInsufficientTraffic=choice)
    it.rate = 0.0
    it.run(570)
    assert (it.phase, it.status["weight"]) == ("Canary", 50)
    assert it.message.startswith("Undecided at 50 %: ")
    it.run(180, it.is_over)
    assert it.phase == phase
    assert "onInsufficientTraffic" in it.message or phase == "Live"
    if phase == "Live":
        assert "as onInsufficientTraffic says" in it.message


@pytest.mark.parametrize(("choice", "phase"), CHOICES[:2])
def test_traffic_that_stops_at_a_step_leaves_it_there(story: Make, choice: str, phase: str) -> None:
    it = story(maxDuration="10m", onInsufficientTraffic=choice)
    it.run(30)
    learnt = it.learnt()
    it.rate = 0.0
    it.run(510)
    assert (it.phase, it.status["weight"], it.learnt()) == ("Canary", 50, learnt)
    it.run(120, it.is_over)
    assert it.phase == phase
    assert "as onInsufficientTraffic says: 10m were not enough to decide at 50 %: " in it.message


def test_traffic_that_stops_as_it_gets_everything_does_not_make_it_live(story: Make) -> None:
    it = story()
    it.run(900, lambda: it.status["weight"] == 100)
    it.rate = 0.0
    it.run(300)
    assert (it.phase, it.status["weight"]) == ("Promoting", 100)
    assert "flights-2 has answered none of 0 requests so far" in it.message
    it.rate = 80.0
    it.run(120, it.is_over)
    assert it.phase == "Live"


def test_a_fault_with_all_requests_is_found_though_traffic_stopped_meanwhile(story: Make) -> None:
    it = story()
    it.versions.failing_alone = 0.05
    it.run(900, lambda: it.status["weight"] == 100)
    it.rate = 0.0
    it.run(120)
    it.rate = 80.0
    it.run(120, it.is_over)
    assert it.phase == "RolledBack"


@pytest.mark.parametrize("at", [OLD, NEW])
def test_one_caller_with_nine_tenths_of_the_requests_who_always_fails_is_no_evidence(story: Make, at: str) -> None:
    it = story()
    it.rate, it.loud, it.loud_at, it.loud_fails = 200.0, 0.9, at, True
    it.run(240, lambda: it.is_over() or it.status["weight"] == 100)
    assert it.status["weight"] in (50, 100), it.message
    tests = it.status["evidence"]["analysis"]
    # One key, in each transformer once.
    assert tests["candidate"]["failed"] + tests["baseline"]["failed"] <= 2
    assert (
        tests["candidate" if at == NEW else "baseline"]["requests"] > 3 * tests["candidate" if at == NEW else "baseline"]["units"]
    )


def test_behind_one_loud_caller_the_failures_of_the_others_are_seen(story: Make) -> None:
    it = story()
    it.rate, it.loud, it.versions.failing[NEW] = 200.0, 0.9, 0.2
    it.run(300, it.is_over)
    assert it.phase == "RolledBack"
    assert "of flights-2's requests failed" in it.message

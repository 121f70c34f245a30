"""What requests are compared with at 100 %, and in shadow: copies. Neither side may have more chances to fail than the other, who
sends many requests, gives them little time, or leaves."""

from collections.abc import Callable
from typing import Any

import pytest

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
SHADOW = {"fraction": 0.3, "minRequests": 500}
MISSED_BY_2 = 0.0476
"""s, a deadline that one and a half in a hundred requests miss."""
Make = Callable[..., Any]


@pytest.mark.parametrize("failing", [0.001, 0.01])
@pytest.mark.parametrize("rollout", [{"steps": [100]}, {"shadow": SHADOW}])
def test_an_equal_version_is_not_taken_back_though_its_callers_send_a_request_a_second_each(
    story: Make, failing: float, rollout: dict[str, Any]
) -> None:
    it = story(**rollout)
    it.rate, it.callers = 200.0, 200
    it.versions.failing = dict.fromkeys(it.versions.failing, failing)
    it.run(240, it.is_over)
    assert it.phase != "RolledBack", it.message


@pytest.mark.parametrize("rollout", [{"steps": [100]}, {"shadow": SHADOW}])
@pytest.mark.parametrize("callers", [0, 2000])
def test_an_equal_version_is_not_taken_back_though_some_requests_miss_their_deadline(
    story: Make, callers: int, rollout: dict[str, Any]
) -> None:
    it = story(**rollout)
    it.rate, it.callers, it.deadline_s = 200.0, callers, MISSED_BY_2
    it.run(240, it.is_over)
    assert it.phase != "RolledBack", it.message


def test_what_makes_both_late_at_100_percent_takes_nothing_back(story: Make) -> None:
    it = story(steps=[100])
    it.rate, it.deadline_s = 200.0, 0.1
    it.run(24)
    assert it.status["weight"] == 100
    it.versions.slower = dict.fromkeys(it.versions.slower, 4.0)
    it.run(48)
    assert it.phase == "Promoting", it.message
    it.versions.slower = dict.fromkeys(it.versions.slower, 1.0)
    it.run(900, it.is_over)
    assert it.phase == "Live", it.message


def test_a_version_that_is_late_with_all_requests_alone_is_taken_back(story: Make) -> None:
    it = story(margins={"latencyP99": 10.0})
    it.rate, it.deadline_s, it.versions.slower_alone = 200.0, 0.1, 3.0
    it.run(900, it.is_over)
    assert it.phase == "RolledBack"
    assert it.weights[-2] == 100


@pytest.mark.parametrize("callers", [0, 200])
def test_a_shadow_that_fails_is_out_though_callers_leave(story: Make, callers: int) -> None:
    it = story(shadow=SHADOW)
    it.callers, it.leaving, it.versions.failing[NEW] = callers, 0.03, 0.03
    it.run(300, it.is_over)
    assert (it.phase, max(it.weights)) == ("RolledBack", 0), it.message


@pytest.mark.parametrize("rollout", [{"steps": [100]}, {"shadow": SHADOW}])
def test_an_equal_version_is_not_taken_back_though_callers_leave(story: Make, rollout: dict[str, Any]) -> None:
    it = story(**rollout)
    it.rate, it.callers, it.leaving = 200.0, 200, 0.03
    it.run(240, it.is_over)
    assert it.phase != "RolledBack", it.message


@pytest.mark.parametrize(("failing_alone", "phase"), [(0.0, "Live"), (0.05, "RolledBack")])
def test_behind_one_caller_with_half_of_the_requests_versions_are_told_apart_at_100_percent(
    story: Make, failing_alone: float, phase: str
) -> None:
    it = story(steps=[100])
    it.rate, it.callers, it.loud, it.versions.failing_alone = 200.0, 200, 0.5, failing_alone
    it.versions.failing = dict.fromkeys(it.versions.failing, 0.001)
    it.run(900, it.is_over)
    assert it.phase == phase, it.message

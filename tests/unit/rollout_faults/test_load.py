"""Load that grows while the new version has all requests: it blames no equal one, is said, and hides no slow one."""

from collections.abc import Callable
from typing import Any

import pytest

from penstock_operator.judgement import LOOK_S

Make = Callable[..., Any]
BUSY, BUSIER = 0.5, 0.75
"""How busy either version's pods are with all requests: with 80 requests/s, and with 120."""


def with_all_requests(story: Make) -> Any:
    """A version that has got everything after a shadow, in which the version before was seen under load."""
    it = story(shadow={"fraction": 0.3, "minRequests": 500}, steps=[100])
    it.versions.load = BUSY
    it.run(900, lambda: it.status["weight"] == 100)
    assert it.status["weight"] == 100, it.message
    return it


def smoothly(_it: Any, _turn: int) -> None:
    pass


def under_new_operators(it: Any, turn: int) -> None:
    it.operator = it.new_operator()


def by_clocks_that_are_apart(it: Any, turn: int) -> None:
    it.now_error_s = -4.0 * (turn % 2)


def with_missed_looks(it: Any, turn: int) -> None:
    """The only transformer answers no look in six."""
    del it.transformers[1:]
    it.transformers[0].answers = turn % 6 != 5


MEANWHILE = [smoothly, under_new_operators, by_clocks_that_are_apart, with_missed_looks]


def go_on(it: Any, seconds: float, meanwhile: Callable[[Any, int], None]) -> None:
    for turn in range(int(seconds / LOOK_S)):
        if it.is_over():
            return
        meanwhile(it, turn)
        it.run(LOOK_S)


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_an_equal_version_goes_live_and_says_that_its_latency_was_not_compared(story: Make, meanwhile: Any) -> None:
    it = with_all_requests(story)
    it.rate, it.versions.load = 120.0, BUSIER
    go_on(it, 150, meanwhile)
    assert "has been over the margin of 1.5 for " in it.message
    assert "on end under more load than flights-1 had with most of the requests (1" in it.message
    go_on(it, 300, meanwhile)
    assert it.phase == "Live", it.message
    assert "flights-2 answers everything. Latency was not compared for 8 half minutes on end, because 1" in it.message
    assert "requests/s came, against 80 requests/s when flights-1 had most of them" in it.message
    assert "found in latency" not in it.message


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_slow_version_under_usual_load_is_taken_back(story: Make, meanwhile: Any) -> None:
    it = with_all_requests(story)
    it.versions.slower_alone = 3.0
    go_on(it, 300, meanwhile)
    assert it.phase == "RolledBack", it.message
    assert "in each of the last 4 half minutes, beside flights-1" in it.message


def test_more_load_for_a_while_leaves_an_equal_version_where_it_is_and_it_is_compared_afterwards(story: Make) -> None:
    it = with_all_requests(story)
    it.rate, it.versions.load = 120.0, BUSIER
    go_on(it, 150, smoothly)
    assert it.phase == "Promoting"
    it.rate, it.versions.load = 80.0, BUSY
    go_on(it, 90, smoothly)
    assert it.phase == "Live"
    assert "No harm over its margin was found in latency either." in it.message

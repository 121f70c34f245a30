"""Faults of the transformers that count: killed, begun anew, reset, silent, lying. Nothing counts twice or blames falsely."""

from collections.abc import Callable
from typing import Any

import pytest

from penstock.evidence.ledger import YOUNG_S
from penstock_operator.judgement import LOOK_S

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
Make = Callable[..., Any]


def test_one_that_is_killed_and_restarted_in_mid_rollout(story: Make) -> None:
    it = story()
    one, two = it.transformers
    it.run(30)
    assert it.learnt() == one.sent + two.sent
    three = it.transformers[1] = it.started("three")
    it.run(YOUNG_S - LOOK_S)
    assert it.learnt() == one.sent + two.sent
    cold = three.sent
    it.run(30, lambda: it.learnt() == one.sent + two.sent + three.sent - cold)
    # What it counted in its first minute is left out, what the dead one had told stays.
    assert it.learnt() == one.sent + two.sent + three.sent - cold
    it.run(900, it.is_over)
    assert it.phase == "Live"


@pytest.mark.parametrize(("failing", "phase"), [(0.1, "RolledBack"), (0.0, "Live")])
def test_killed_again_and_again_they_hide_no_bad_version_and_blame_no_good_one(story: Make, failing: float, phase: str) -> None:
    it = story()
    it.versions.failing[NEW] = failing
    for turn in range(20):
        it.run(78, it.is_over)
        if it.is_over():
            break
        it.transformers[turn % 2] = it.started(f"new {turn}")
    assert it.phase == phase, it.message


def test_when_all_are_replaced_as_it_gets_everything_it_is_not_live_unseen(story: Make) -> None:
    it = story()
    it.versions.failing_alone = 0.05
    it.run(900, lambda: it.status["weight"] == 100)
    it.transformers = [it.started("three"), it.started("four")]
    it.run(YOUNG_S - LOOK_S)
    assert it.phase == "Promoting"
    it.run(120, it.is_over)
    assert it.phase == "RolledBack"


def test_counters_that_are_reset_are_believed_once_they_are_above_what_they_were(story: Make) -> None:
    it = story()
    one, two = it.transformers
    it.run(30)
    before = one.sent
    one.forget()
    it.run(24)
    assert it.learnt() == before + two.sent
    it.run(900, it.is_over)
    assert it.phase == "Live"


@pytest.mark.parametrize("failing", [0.0, 0.2])
def test_one_that_tells_zeros(story: Make, failing: float) -> None:
    it = story()
    one, two = it.transformers
    it.run(18)
    two.lies, known = True, two.sent
    it.run(18)
    assert it.learnt() == one.sent + known
    two.lies = False
    it.run(LOOK_S)
    assert it.learnt() == one.sent + two.sent
    two.lies, it.versions.failing[NEW] = True, failing
    it.run(900, it.is_over)
    assert it.phase == ("RolledBack" if failing else "Live")


def test_one_that_is_silent_for_a_while_is_added_up_once_when_it_speaks(story: Make) -> None:
    it = story()
    one, two = it.transformers
    it.run(12)
    two.answers, known = False, two.sent
    it.run(30)
    assert it.learnt() == one.sent + known
    two.answers = True
    it.run(LOOK_S)
    assert it.learnt() == one.sent + two.sent


def test_one_that_is_answered_for_twice_is_counted_once(story: Make) -> None:
    it = story()
    it.transformers.append(it.transformers[0])
    it.run(30)
    assert it.learnt() == sum(one.sent for one in it.transformers[:2])


@pytest.mark.parametrize(("slower", "phase"), [(1.0, "Live"), (2.0, "RolledBack")])
def test_of_the_release_before_and_of_this_one_they_are_counted_in_the_bins_of_the_former(
    story: Make, slower: float, phase: str
) -> None:
    it = story()
    it.versions.slower[NEW] = slower
    it.transformers[0].earlier = True
    for turn in range(2):
        it.run(30, it.is_over)
        # Replaced by one of this release, in the middle of the step.
        it.transformers[turn] = it.started(f"new {turn}")
    it.run(900, it.is_over)
    assert it.phase == phase, it.message
    assert phase == "Live" or "latency of flights-2 is" in it.message

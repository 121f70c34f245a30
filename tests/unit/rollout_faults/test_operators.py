"""Faults of the operator: killed between two calls, between keeping and writing, late news, another lease or clock, what the API
server does not take."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock_operator.cluster import INFERENCE_SERVICES, ClusterError
from penstock_operator.judgement import AWAY_S, FULL_S, LOOK_S, TELL_S
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
Make = Callable[..., Any]


@pytest.mark.parametrize("calls", [1, 3])
def test_killed_again_and_again_before_its_so_manieth_call_it_counts_once_and_ends_the_same(story: Make, calls: int) -> None:
    it = story()
    deaths = 0

    def kill() -> None:
        nonlocal deaths
        # With each second look: one that never lives to make a call gets nowhere.
        if it.world.die_at is None and (deaths := deaths + 1) % 2:
            it.world.die_at = it.world.calls + calls

    it.before_look = kill
    it.run(60)
    assert it.learnt() <= it.sent
    it.before_look = lambda: None
    it.world.die_at = None
    it.run(TELL_S, it.caught_up)
    assert it.caught_up()
    it.before_look = kill
    it.run(900, it.is_over)
    assert it.phase == "Live"


def test_killed_between_keeping_and_writing_it_loses_nothing_that_pods_still_tell(story: Make) -> None:
    it = story()
    it.run(TELL_S + 2 * LOOK_S)
    assert it.written() < it.learnt() == it.sent
    it.operator = it.new_operator()
    assert it.learnt() == it.written()
    it.run(LOOK_S)
    assert it.learnt() == it.sent


def test_a_pod_that_dies_in_the_window_is_lost_with_the_operator_for_half_a_minute_at_most(story: Make) -> None:
    it = story()
    one, two = it.transformers
    it.run(TELL_S)
    it.run(TELL_S, lambda: it.written() == it.sent)
    at_words = two.sent
    it.run(2 * LOOK_S)
    lost = two.sent - at_words
    assert it.learnt() - it.written() == one.sent + two.sent - it.written() > lost
    it.transformers, it.operator = [one], it.new_operator()
    it.run(TELL_S)
    assert it.learnt() == one.sent + at_words
    assert 0 < lost <= it.rate * TELL_S


def test_a_pod_that_dies_in_the_window_is_not_lost_while_the_operator_lives(story: Make) -> None:
    it = story()
    one, two = it.transformers
    it.run(TELL_S + 2 * LOOK_S)
    assert it.written() < it.learnt()
    it.transformers = [one]
    it.run(2 * TELL_S)
    assert it.written() > it.learnt() - it.rate * TELL_S
    assert it.learnt() == one.sent + two.sent


@pytest.mark.parametrize("noticed", [True, False])
def test_a_lease_that_goes_to_another_and_comes_back(story: Make, noticed: bool) -> None:
    """What the first has kept is older than what the second has written, of a pod that is gone since."""
    it = story()
    it.versions.failing = {OLD: 0.3, NEW: 0.3}  # so that nothing is decided meanwhile
    one, two = it.transformers
    first, second = it.operator, it.new_operator()
    it.run(TELL_S + 2 * LOOK_S)
    assert it.written() < it.learnt()
    it.operator = second
    it.run(2 * TELL_S)
    it.run(TELL_S, lambda: it.written() == it.sent)
    it.operator, it.transformers = first, [one]
    if noticed:
        first.all_soon()
    for _ in range(4):
        it.run(LOOK_S)
        assert it.learnt() <= one.sent + two.sent
    it.run(TELL_S, lambda: it.learnt() == one.sent + two.sent)
    assert it.learnt() == one.sent + two.sent


def test_two_operators_that_both_act_count_once(story: Make) -> None:
    it = story()
    it.versions.failing = {OLD: 0.3, NEW: 0.3}  # so that nothing is decided meanwhile
    both = [it.operator, it.new_operator()]
    for turn in range(12):
        it.operator = both[turn % 2]
        it.run(LOOK_S)
        assert it.caught_up()


@pytest.mark.parametrize("late", [4, 25])
def test_watches_that_are_late_make_it_count_nothing_twice_and_lose_nothing(story: Make, late: int) -> None:
    it = story()
    it.run(TELL_S)
    it.late_from_now(late)
    told = 0
    for _ in range(10):
        it.run(LOOK_S)
        assert it.learnt() <= it.sent
        assert it.written() >= told
        told = it.written()
    it.late = 0
    it.run(TELL_S, it.caught_up)
    assert it.caught_up()
    it.late_from_now(late)
    it.run(1500, it.is_over)
    assert it.phase == "Live"


def test_a_pod_that_dies_while_watches_are_late_is_not_taken_back(story: Make) -> None:
    """What has been written is not written over by what follows from an older status."""
    it = story()
    it.versions.failing = {OLD: 0.3, NEW: 0.3}  # so that nothing is decided meanwhile
    one, two = it.transformers
    it.run(TELL_S)
    it.late_from_now(12)
    it.run(3 * TELL_S)
    it.transformers = [one]
    it.run(3 * TELL_S)
    it.late = 0
    it.run(TELL_S)
    assert one.sent + two.sent - it.rate / 2 * TELL_S <= it.learnt() <= one.sent + two.sent


def test_watches_that_are_late_do_not_keep_a_bad_version(story: Make) -> None:
    it = story()
    it.late = 4
    it.versions.failing[NEW] = 0.1
    it.run(300, it.is_over)
    assert it.phase == "RolledBack"
    assert it.world.route() == {"flights-1": (100, None)}


@pytest.mark.parametrize("apart_s", [-3600.0, 3600.0, 86400.0])
def test_another_operator_whose_clock_is_apart_goes_on_and_decides_by_evidence(story: Make, apart_s: float) -> None:
    it = story(maxDuration="30m", onInsufficientTraffic="rollBack")
    it.run(30)
    it.operator, it.now_error_s = it.new_operator(), apart_s
    it.run(2 * TELL_S, it.caught_up)
    assert it.caught_up()
    assert (it.phase, it.status["weight"]) == ("Canary", 50)
    it.operator, it.now_error_s = it.new_operator(), 0.0
    it.run(2 * TELL_S, it.caught_up)
    assert it.caught_up()
    it.run(1500, lambda: it.status["weight"] == 100)
    began = it.world.now
    it.operator, it.now_error_s = it.new_operator(), apart_s
    it.run(600, it.is_over)
    assert it.phase == "Live", it.message
    assert FULL_S - AWAY_S <= it.world.now - began <= FULL_S + TELL_S + LOOK_S


def test_the_time_that_a_trial_is_paused_is_not_its_time(story: Make) -> None:
    it = story(maxDuration="10m", onInsufficientTraffic="rollBack")
    it.run(30)
    it.world.annotate("flights-2", paused="true")
    it.world.now += 7200
    it.run(LOOK_S)
    assert it.phase == "Paused"
    it.world.annotate("flights-2", paused=None)
    it.run(500, it.is_over)
    assert it.phase == "Live", it.message


def test_a_step_that_is_come_to_again_counts_anew(story: Make) -> None:
    """Requests that only the version before got meanwhile are no part of the comparison."""
    it = story()
    it.run(30)
    first = it.status["evidence"]["revision"]
    it.world.remove(INFERENCE_SERVICES, NAMESPACE, "flights-2")
    it.run(TELL_S + 2 * LOOK_S)
    assert (it.phase, it.status["weight"]) == ("Canary", 50)
    assert it.status["evidence"]["revision"] > first
    assert it.status["evidence"]["begun"] == {"0": 2}
    counted = it.status["evidence"]["analysis"]
    assert counted["baseline"]["requests"] < 2 * counted["candidate"]["requests"]


def test_a_change_that_is_refused_for_good_slows_no_trial(story: Make) -> None:
    it = story()
    it.run(LOOK_S)
    key = INFERENCE_SERVICES, "flights-1"
    there = it.world.cluster.objects[INFERENCE_SERVICES.plural, NAMESPACE, "flights-1"]
    predictor = {**there["spec"]["predictor"], "minReplicas": 7}
    it.world.cluster.put(INFERENCE_SERVICES, {**there, "spec": {**there["spec"], "predictor": predictor}})
    it.world.refuses[key] = "exceeded quota"
    for _ in range(5):
        it.run(LOOK_S)
        assert it.caught_up()
        assert 0 < asyncio.run(it.operator._turn((NAMESPACE, MODEL))) <= LOOK_S
    assert it.operator.counters.refused > 2
    it.run(1500, it.is_over)
    assert it.phase == "Live", it.message


def test_of_changes_that_get_no_answer_a_turn_waits_for_one_and_a_bad_version_is_rolled_back(story: Make) -> None:
    it = story()
    it.run(LOOK_S)
    for name in (MODEL, "flights-1", "flights-2"):
        there = it.world.cluster.objects[INFERENCE_SERVICES.plural, NAMESPACE, name]
        predictor = {**there["spec"]["predictor"], "minReplicas": 7}
        it.world.cluster.put(INFERENCE_SERVICES, {**there, "spec": {**there["spec"], "predictor": predictor}})
        it.world.refuses[INFERENCE_SERVICES, name] = ClusterError("no answer: TimeoutError")
    asyncio.run(it.look())
    assert it.operator.counters.refused == 1
    it.versions.failing[NEW] = 0.5
    it.run(300, it.is_over)
    assert it.phase == "RolledBack", it.message

"""Faults of the new version, of the one before it, of both: what is taken back, what is not, and what is said."""

from collections.abc import Callable
from typing import Any

import pytest

from penstock_operator.cluster import PODS
from penstock_operator.simulation.watched_cluster import NAMESPACE

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


@pytest.mark.parametrize("rollout", [{}, {"steps": [10, 100]}, {"shadow": SHADOW}])
def test_an_equal_version_whose_pods_are_slow_at_first_is_not_rolled_back(story: Make, rollout: dict[str, Any]) -> None:
    it = story(**rollout)
    it.versions.cold = 6.0
    it.run(24)
    assert "the latency of flights-2 is not looked at before its pods have answered for 36 s" in words(it)
    it.run(1500, it.is_over)
    assert it.phase == "Live", it.message


def words(it: Any) -> str:
    """All that is said of all tests."""
    return " ".join(test["says"] for test in it.status["evidence"]["analysis"]["tests"].values())


@pytest.mark.parametrize("how", ["replaced", "restarted"])
def test_nor_is_one_whose_pod_is_replaced_or_restarted_on_its_way(story: Make, how: str) -> None:
    it = story()
    it.run(48)
    name = next(
        name for plural, _, name in it.world.cluster.objects if plural == "pods" and name.startswith("flights-2-predictor")
    )
    if how == "replaced":
        it.world.remove(PODS, NAMESPACE, name)
        it.world.make_pods()
    else:
        pod = it.world.cluster.objects["pods", NAMESPACE, name]
        states = [{"restartCount": 1, "state": {"running": {}}}]
        it.world.cluster.put(PODS, {**pod, "status": {**pod["status"], "containerStatuses": states}})
    it.versions.cold, it.versions.cold_since = 6.0, it.world.now
    it.run(1500, it.is_over)
    assert it.phase == "Live", it.message


def test_a_version_whose_pods_are_replaced_all_the_time_is_taken_back_for_its_latency_nevertheless(story: Make) -> None:
    it = story()
    it.versions.slower[NEW] = 2.5

    def replace() -> None:
        for plural, _, name in list(it.world.cluster.objects):
            if plural == "pods" and name.startswith("flights-2-predictor"):
                it.world.remove(PODS, NAMESPACE, name)

    for _ in range(20):
        replace()
        it.run(18, it.is_over)
    assert it.phase == "RolledBack"
    assert "latency of flights-2 is" in it.message


def test_a_version_that_is_twice_as_slow_is_found_within_a_minute_of_its_first_request(story: Make) -> None:
    it = story(margins={})
    it.rate, it.versions.slower[NEW] = 200.0, 2.0
    began = it.world.now
    it.run(300, it.is_over)
    assert it.phase == "RolledBack"
    assert it.world.now - began <= 60


LOADED = {"steps": [10, 100], "margins": {"latencyP99": 1.5}}


def test_an_equal_version_is_not_rolled_back_for_having_all_the_load(story: Make) -> None:
    it = story(**LOADED)
    it.rate, it.versions.load = 200.0, 0.5
    it.run(900, it.is_over)
    assert it.phase == "Live", it.message


def test_one_that_doubles_latency_only_with_all_requests_is_taken_back_under_load_too(story: Make) -> None:
    it = story(**LOADED)
    it.rate, it.versions.load, it.versions.slower_alone = 200.0, 0.5, 2.0
    it.run(900, it.is_over)
    assert (it.phase, it.weights[-2:]) == ("RolledBack", [100, 0])
    assert it.message.endswith("half minutes, beside flights-1 as it was with most of the requests, too.")


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
    assert "with 99 % confidence at least" in it.message
    assert it.message.endswith("times as long, over the margin of 1.5.")


def test_an_equal_version_whose_copies_take_longer_than_requests_does_not_stay_a_shadow(story: Make) -> None:
    it = story(shadow=SHADOW)
    it.versions.copied = 1.5
    it.run(120)
    assert max(it.weights) > 0
    it.run(900, it.is_over)
    assert it.phase == "Live", it.message


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

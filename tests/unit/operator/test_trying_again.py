"""A verification that ends without a verdict is tried again, after longer and longer: a store that is away for a while is the end
of no version."""

import asyncio
import re
from typing import Any

import pytest

from penstock_operator.clock import read_moment, write_moment
from penstock_operator.cluster import JOBS
from penstock_operator.policy import Policy
from penstock_operator.simulation.watched_cluster import NAMESPACE
from penstock_operator.simulation.world import World
from penstock_operator.verification_job import read_job
from penstock_operator.verifying import wait_s

DIGEST = "sha256:" + "a" * 64
NAME = "flights-1"
PAUSES_S = (10.0, 20.0, 40.0, 80.0)


def begun(**rollout: Any) -> World:
    """A version whose first try has just ended without a verdict."""
    world = World()
    world.add_version(NAME, DIGEST, rollout={"strategy": "immediate", **rollout})
    later(world, 0.0)
    assert tries(world) == 1
    return world


def later(world: World, seconds: float, found: str = "silent") -> None:
    """So much later; whoever tries then finds this."""
    world.now += seconds
    world.verdicts[DIGEST] = found
    asyncio.run(world.settle())


def tries(world: World) -> int:
    """Jobs that were ever made."""
    return sum(kind == JOBS and change.type == "ADDED" for _, kind, change in world.cluster.history)


def told(world: World) -> tuple[str, str]:
    return world.status(NAME)["phase"], world.status(NAME)["reason"]


def test_each_wait_is_twice_as_long_as_the_one_before_and_the_fifth_try_is_the_last() -> None:
    world = begun()
    for number, pause_s in enumerate(PAUSES_S, 1):
        later(world, pause_s - 1.0)
        assert (tries(world), told(world)) == (number, ("Verifying", "Verifying"))
        later(world, 1.0)
        assert tries(world) == number + 1
    assert told(world) == ("Failed", "VerificationBroken")
    later(world, 3600.0)
    assert tries(world) == 5


def test_a_longest_wait_is_never_passed() -> None:
    policy = Policy(verify_again_s=1.0, verify_longest_s=5.0)
    moment = write_moment(1000.0)
    document = {"metadata": {"name": "a"}, "status": {"conditions": [failed(moment)]}}
    waits = []
    for attempt in range(6):
        document["metadata"]["annotations"] = {"penstock.dev/attempt": str(attempt)}
        waits.append(wait_s(read_job(document, []), policy, 1000.0))
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_a_store_that_is_away_for_forty_seconds_is_waited_for() -> None:
    world = begun()
    began = world.now
    while world.status(NAME)["phase"] != "Live":
        assert world.now - began < 71.0
        later(world, 1.0, "silent" if world.now - began < 40.0 else "ok")
    assert tries(world) == 4
    assert world.status(NAME)["verifyAttempts"] == 3


def test_the_message_says_when_it_is_tried_again() -> None:
    world = begun()
    for number, pause_s in enumerate(PAUSES_S, 1):
        message = world.status(NAME)["message"]
        found = re.fullmatch(rf"try {number} of 5 ended without a verdict, the next is at (\S+Z)", message)
        assert found is not None, message
        assert read_moment(found[1], 0.0) - world.now == pytest.approx(pause_s, abs=0.1)
        later(world, pause_s / 2)
        assert world.status(NAME)["message"] == message
        later(world, pause_s / 2)


def test_it_is_looked_at_when_its_time_comes() -> None:
    world = begun()
    assert asyncio.run(world.operate()).look_again_s == pytest.approx(10.0, abs=0.1)
    world.now += 7.0
    plan = asyncio.run(world.operate())
    assert plan.operations == ()
    assert plan.look_again_s == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("after", [0.0, 5.0])
def test_an_operator_that_dies_meanwhile_changes_nothing(after: float) -> None:
    """Each makes one call and dies, and the next one remembers nothing."""

    def live_and_die(world: World) -> None:
        for _ in range(12):
            asyncio.run(world.operate_and_die(2))
            world.verdicts[DIGEST] = "silent"
            world.run_jobs()

    world = begun()
    world.now += after
    live_and_die(world)
    assert tries(world) == 1
    world.now += 9.9 - after
    live_and_die(world)
    assert tries(world) == 1
    world.now += 0.1
    live_and_die(world)
    assert tries(world) == 2
    assert world.status(NAME)["verifyAttempts"] == 1
    world.now += 19.9
    live_and_die(world)
    assert tries(world) == 2
    world.now += 0.1
    live_and_die(world)
    assert tries(world) == 3


def test_max_duration_ends_the_waiting() -> None:
    world = begun(maxDuration="25s")
    later(world, 10.0)
    assert tries(world) == 2
    plan = asyncio.run(world.operate())
    assert plan.look_again_s == pytest.approx(15.0, abs=0.1)
    later(world, 15.0)
    assert told(world) == ("Failed", "VerificationTimedOut")
    assert "try 2 of 5 ended without a verdict" in world.status(NAME)["message"]
    assert "maxDuration" in world.status(NAME)["message"]
    later(world, 60.0)
    assert tries(world) == 2


def test_a_job_that_is_deleted_by_hand_is_made_anew_at_once() -> None:
    world = begun()
    world.remove(JOBS, NAMESPACE, f"{NAME}-verify")
    later(world, 0.0)
    assert tries(world) == 2
    assert "verifyAttempts" not in world.status(NAME), "it was no try that ended"


def test_paused_it_is_not_tried_until_it_goes_on() -> None:
    world = begun()
    world.annotate(NAME, paused="true")
    later(world, 600.0)
    assert (tries(world), world.status(NAME)["phase"]) == (1, "Paused")
    world.annotate(NAME, paused=None)
    later(world, 0.0, "ok")
    assert (tries(world), world.status(NAME)["phase"]) == (2, "Live")


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    """The Job has ended in an hour."""
    world = begun()
    later(world, -3600.0)
    assert tries(world) == 2
    later(world, 19.0)
    assert tries(world) == 2
    later(world, 1.0)
    assert tries(world) == 3


def failed(moment: str | None) -> dict[str, Any]:
    return {"type": "Failed", "status": "True", **({"lastTransitionTime": moment} if moment else {})}


@pytest.mark.parametrize(
    "conditions, over",
    [
        ([], ""),
        ([{"type": "FailureTarget", "status": "True", "lastTransitionTime": "2026-11-23T02:29:07Z"}], ""),
        ([failed("2026-11-23T02:29:08Z")], "2026-11-23T02:29:08Z"),
        ([failed(None)], "2026-11-23T02:29:04Z"),
    ],
)
def test_a_job_is_over_when_its_controller_says_so(conditions: list[dict[str, Any]], over: str) -> None:
    metadata = {"name": "flights-1-verify", "creationTimestamp": "2026-11-23T02:29:04Z"}
    job = read_job({"metadata": metadata, "status": {"conditions": conditions}}, [])
    assert (job.over, job.is_mute) == (over, bool(over))

"""KServe calls an InferenceService ready with its first pod: a version joins with as many as it asks for at least."""

import asyncio
from typing import Any

import pytest

from penstock_operator.cluster import INFERENCE_SERVICES, PODS
from penstock_operator.looking import SERVICE_LABEL
from penstock_operator.simulation.watched_cluster import NAMESPACE
from penstock_operator.simulation.world import World

IMMEDIATE = {"rollout": {"strategy": "immediate", "maxDuration": "1h"}}


def warming(least: int) -> World:
    """flights-1 is live; flights-2 wants so many pods, of which the first is ready, and KServe says Ready."""
    world = World()
    world.add_version("flights-1", "sha256:" + "a" * 64, **IMMEDIATE)
    asyncio.run(world.settle())
    world.add_version("flights-2", "sha256:" + "b" * 64, runtime={"replicas": {"min": least, "max": 8}}, **IMMEDIATE)
    asyncio.run(until_served(world))
    asyncio.run(world.operate())
    return world


async def until_served(world: World) -> None:
    while "flights-2" not in world.services():
        await world.operate()
        world.run_jobs()
        world.apply_route()
    world.make_pods()


def pods(world: World) -> list[Any]:
    return [
        pod
        for (plural, _, _), pod in world.cluster.objects.items()
        if plural == PODS.plural and pod["metadata"]["labels"].get(SERVICE_LABEL) == "flights-2"
    ]


def told(world: World) -> tuple[str, str, str]:
    status = world.status("flights-2")
    ready = next(one["status"] for one in status["conditions"] if one["type"] == "Ready")
    return status["reason"], status.get("message", ""), ready


def test_one_pod_is_enough_for_one() -> None:
    world = warming(1)
    assert world.status("flights-2")["stage"] == "Joining"


def test_it_waits_for_the_others_and_says_so() -> None:
    world = warming(3)
    for ready in (1, 2):
        asyncio.run(world.operate())
        assert len(pods(world)) == ready
        assert told(world) == ("StartingPredictor", f"{ready} of 3 pods are ready", "False")
        assert "flights-2" not in world.route()
        world.make_pods()
    asyncio.run(world.settle())
    assert world.status("flights-2")["phase"] == "Live"


@pytest.mark.parametrize("what", ["not ready", "deleting", "a verification's"])
def test_pods_that_do_not_answer_do_not_count(what: str) -> None:
    world = warming(2)
    world.make_pods()
    pod = pods(world)[-1]
    if what == "not ready":
        pod = {**pod, "status": {**pod["status"], "conditions": [{"type": "Ready", "status": "False"}]}}
    elif what == "deleting":
        pod = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}}
    else:
        labels = {key: value for key, value in pod["metadata"]["labels"].items() if key != "component"}
        pod = {**pod, "metadata": {**pod["metadata"], "labels": labels}}
    world.cluster.put(PODS, pod)
    asyncio.run(world.operate())
    assert told(world)[:2] == ("StartingPredictor", "1 of 2 pods are ready")


def test_pods_that_never_come_fail_it_by_name() -> None:
    world = warming(2)
    world.now += 3601
    asyncio.run(world.operate())
    assert world.status("flights-2")["phase"] == "Failed"
    assert told(world)[:2] == ("WarmingTimedOut", "1 of 2 pods are ready")


def test_pods_that_go_later_are_their_autoscalers_matter() -> None:
    world = warming(2)
    asyncio.run(world.settle())
    assert world.status("flights-2")["phase"] == "Live"
    name = pods(world)[0]["metadata"]["name"]
    world.remove(PODS, NAMESPACE, name)
    asyncio.run(world.operate())
    assert world.status("flights-2")["phase"] == "Live"
    assert (INFERENCE_SERVICES.plural, NAMESPACE, "flights-2") in world.cluster.objects

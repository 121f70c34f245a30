"""What events tell of a version's life, at which moment, and that none is told twice."""

import asyncio
from typing import Any

import msgspec

from penstock_operator.cluster import INFERENCE_SERVICES, PODS
from penstock_operator.model_version import Status, read_model_version, status_object
from penstock_operator.narrative import version_event
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

A, B = ("sha256:" + letter * 64 for letter in "ab")
IMMEDIATE = {"rollout": {"strategy": "immediate"}}
MANUAL = {"rollout": {"strategy": "manual", "steps": [5, 50, 100]}}


def events(world: World, name: str) -> list[dict[str, Any]]:
    """Of one object, in the order in which they were written."""
    found = [document for (plural, _, _), document in world.cluster.objects.items() if plural == "events"]
    return [one for one in found if one["involvedObject"]["name"] == name]


def told(world: World, name: str) -> list[tuple[str, str, str]]:
    return [(one["type"], one["reason"], one["message"]) for one in events(world, name)]


def settle(world: World) -> None:
    asyncio.run(world.settle())


def two() -> World:
    """One version Live, another that waits to be promoted."""
    world = World()
    world.add_version("flights-1", A, **IMMEDIATE)
    settle(world)
    world.add_version("flights-2", B, **MANUAL)
    settle(world)
    return world


def test_a_versions_life() -> None:
    world = two()
    world.annotate("flights-2", promote="50")
    settle(world)
    world.annotate("flights-2", rollback="too slow")
    settle(world)
    assert told(world, "flights-2") == [
        ("Normal", "Verifying", "Pending -> Verifying"),
        ("Normal", "Verified", "Verifying -> Warming"),
        ("Normal", "Joining", "Warming: transformers fetch its bundle"),
        ("Normal", "AwaitingPromotion", "Warming -> Canary: annotation penstock.dev/promote says how far it may go"),
        ("Normal", "Stepping", "Canary: to 5 %"),
        ("Normal", "Stepping", "Canary: to 50 %"),
        ("Warning", "RolledBack", "Canary -> RolledBack: too slow"),
    ]
    assert [text for _, _, text in told(world, "flights-1")][-3:] == ["Live at 95 %", "Live at 50 %", "Live"]


def test_a_pause_is_told_when_it_comes_and_each_time_that_it_comes() -> None:
    world = two()
    paused = []
    for _ in range(2):
        for annotation in ("true", None):
            world.now += 600
            world.annotate("flights-2", paused=annotation)
            settle(world)
        paused.append(world.now - 600)
    found = [one for one in events(world, "flights-2") if one["reason"] == "Paused"]
    assert [one["message"] for one in found] == ["Canary -> Paused: by its annotation"] * 2
    assert [one["type"] for one in found] == ["Normal"] * 2
    times = [one["firstTimestamp"] for one in found]
    assert times[0] < times[1]
    assert times[0] > world.status("flights-2")["stageSince"]


def test_what_somebody_has_to_see_to_is_told_though_nothing_moves() -> None:
    world = World()
    world.cluster.put(INFERENCE_SERVICES, {"metadata": {"name": MODEL, "namespace": NAMESPACE}, "spec": {"predictor": {}}})
    world.add_version("flights-1", A)
    settle(world)
    world.now += 60
    settle(world)
    assert told(world, "flights-1") == [
        ("Warning", "NoTransformer", f"Pending: InferenceService {MODEL} has no transformer to route with")
    ]


def test_a_transformer_that_starts_is_no_fault_and_one_that_is_gone_is() -> None:
    starting = Status(phase="Promoting", stage="Promoting", weight=100, reason="FirstVersion", stage_since="2026-01-31T12:00:00Z")
    metadata = {"namespace": NAMESPACE, "name": "flights-1", "uid": "u"}
    spec = {"inferenceService": MODEL, "bundle": {"uri": "pvc://a/b", "digest": A}}
    version = read_model_version({"metadata": metadata, "spec": spec, "status": status_object(starting)})
    assert version_event(version, msgspec.structs.replace(starting, reason="NoTransformer"), 0.0) is None
    world = World()
    world.add_version("flights-1", A, **IMMEDIATE)
    settle(world)
    assert {kind for kind, _, _ in told(world, "flights-1")} == {"Normal"}
    world.add_version("flights-2", B, **MANUAL)
    settle(world)
    for transformer in list(world.transformers):
        world.remove(PODS, NAMESPACE, pod_of(world, transformer))
    asyncio.run(world.operate())
    asyncio.run(world.operate())
    assert told(world, "flights-2")[-1] == ("Warning", "NoTransformer", "Canary: no transformer pod is running")


def pod_of(world: World, uid: str) -> str:
    return next(name for (_, _, name), one in world.cluster.objects.items() if one["metadata"].get("uid") == uid)


def test_a_pod_that_is_evicted_says_why() -> None:
    world = two()
    for number in range(2):
        world.add_transformer(f"more-{number}")
    settle(world)
    next(iter(world.transformers.values())).deaf = True
    asyncio.run(world.operate())
    world.now += 31
    asyncio.run(world.operate())
    (evicted,) = [one for (plural, _, _), one in world.cluster.objects.items() if plural == "events" and about_a_pod(one)]
    assert (evicted["type"], evicted["reason"]) == ("Warning", "TransformerSilent")
    assert evicted["message"].startswith("to be evicted: for 31 s it has not said which route it applies")


def about_a_pod(event: dict[str, Any]) -> bool:
    return bool(event["involvedObject"]["kind"] == "Pod")


def test_an_operator_that_dies_behind_each_call_tells_nothing_twice() -> None:
    undisturbed, dying = two(), World()
    dying.add_version("flights-1", A, **IMMEDIATE)
    die_again_and_again(dying)
    dying.add_version("flights-2", B, **MANUAL)
    die_again_and_again(dying)
    assert told(dying, "flights-2") == told(undisturbed, "flights-2")
    for world in (undisturbed, dying):
        world.annotate("flights-2", paused="true")
    settle(undisturbed)
    die_again_and_again(dying)
    assert told(dying, "flights-2") == told(undisturbed, "flights-2")


def die_again_and_again(world: World) -> None:
    """One call, and the next operator makes one more."""

    async def live() -> None:
        for _ in range(400):
            calls = world.calls
            await world.operate_and_die(2)
            moved = [world.run_jobs(), world.make_pods(), world.apply_route(), world.collect()]
            if calls == world.calls and not any(moved):
                return
        raise AssertionError("still moving")

    asyncio.run(live())

"""Somebody deletes the route's ConfigMap, or makes it unreadable: it comes back as it was, and no pod that knows of the one
before passes for one that applies it."""

import asyncio
from typing import Any

import pytest

from penstock_operator.cluster import CONFIG_MAPS, INFERENCE_SERVICES
from penstock_operator.desired import decide
from penstock_operator.plan import Plan
from penstock_operator.policy import Policy
from penstock_operator.route import predictor_address, read_route_document, route_name
from penstock_operator.seen import Answer, Entry, InferenceService, Pod, Route, Seen
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE, Transformer
from penstock_operator.simulation.world import World

A, B, OWN = ("sha256:" + letter * 64 for letter in "abd")
NAME = route_name(MODEL)
OURS = predictor_address(MODEL, NAMESPACE)
NOW = 1_800_000_000.0
USERS = InferenceService(MODEL, "u", "1", routes=True, ready=True)


def spoil(world: World, how: str) -> None:
    if how == "deleted":
        world.remove(CONFIG_MAPS, NAMESPACE, NAME)
    else:
        document = world.cluster.objects[CONFIG_MAPS.plural, NAMESPACE, NAME]
        world.cluster.put(CONFIG_MAPS, {**document, "data": {"route.yaml": "{"}})


def go_on(world: World, rounds: int) -> None:
    for _ in range(rounds):
        asyncio.run(world.round())


def joining() -> tuple[World, Transformer]:
    """The user's own bundle and flights-1 beside it with no requests yet; the only pod, which knows that route, is silent."""
    world = World()
    world.apply_service(OWN)
    world.add_version("flights-1", A, rollout={"strategy": "immediate"})
    go_on(world, 10)
    assert world.route() == {MODEL: (100, None), "flights-1": (0, None)}
    silent = next(iter(world.transformers.values()))
    world.apply_route(0)
    silent.deaf = True
    return world, silent


@pytest.mark.parametrize("how", ["deleted", "unreadable"])
@pytest.mark.parametrize("then", ["nothing", "another version"])
def test_a_silent_pod_that_knows_the_route_before_does_not_pass_for_one_that_applies_this(how: str, then: str) -> None:
    """It would send to what was rolled back for ever."""
    world, silent = joining()
    world.annotate("flights-1", rollback="no")
    go_on(world, 2)
    spoil(world, how)
    if then == "another version":
        world.add_version("flights-2", B, rollout={"strategy": "manual"})
    go_on(world, 12)
    assert silent.applied.keys() == {OURS, predictor_address("flights-1", NAMESPACE)}
    assert "flights-1" in world.services()
    silent.deaf = False
    asyncio.run(world.settle())
    expected = {MODEL} if then == "nothing" else {MODEL, "flights-2"}
    assert world.services() == expected
    assert all(one.applied.keys() == silent.applied.keys() for one in world.transformers.values())
    assert silent.applied.keys() == {predictor_address(name, NAMESPACE) for name in expected}


def written(route: Route | None, *pods: Pod) -> int:
    """The revision that is written for the user's own bundle."""
    plan: Plan = decide(Seen("n", MODEL, NOW, service=USERS, route=route, pods=pods, held=((OWN, 1),)), Policy())
    (document,) = [one.document for one in plan.operations if one.kind == CONFIG_MAPS]
    return read_route_document(document).revision


def test_the_next_revision_is_above_all_that_may_have_been() -> None:
    one, silent = Pod("one", "1", answer=Answer(7)), Pod("two", "2", silent_s=1.0)
    there = Route("u", "9", 8, (Entry(OWN, "elsewhere", 100.0),))
    assert written(there, one, silent) == 9
    lost = int(NOW * 1000)
    assert written(None, one) == lost
    assert written(Route("u", "9", 0, None), one) == lost
    assert written(Route("u", "9", lost + 5, None), one) == lost + 6, "of a text of which only the revision can be read"


def trial() -> World:
    """At 10 %, with a baseline."""
    world = World()
    world.add_version("flights-1", A, rollout={"strategy": "immediate"})
    asyncio.run(world.settle())
    world.add_version("flights-2", B, rollout={"baseline": True})
    asyncio.run(world.settle())
    return world


@pytest.mark.parametrize("how", ["deleted", "unreadable"])
def test_a_baseline_whose_pods_are_gone_too_stays_in_the_route(how: str) -> None:
    """Out of it and back again it would be another arm within the same step."""
    world = trial()
    route: dict[str, Any] = {"flights-1": (80, None), "flights-2": (10, None), "flights-2-base": (10, None)}
    assert world.route() == route
    world.remove(INFERENCE_SERVICES, NAMESPACE, "flights-2-base")
    asyncio.run(world.operate())
    spoil(world, how)
    go_on(world, 1)
    assert world.route() == route
    asyncio.run(world.settle())
    assert world.route() == route

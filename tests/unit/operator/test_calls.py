"""What calls say and when they are made: each names the state that it was decided on; what follows a refused one is not done."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from penstock_operator.apply import carry_out
from penstock_operator.cluster import CONFIG_MAPS, INFERENCE_SERVICES, MODEL_VERSIONS, Changed
from penstock_operator.controller import Controller
from penstock_operator.desired import decide
from penstock_operator.looking import Silence, look
from penstock_operator.plan import Operation, Plan, Verb
from penstock_operator.policy import Policy
from penstock_operator.route import route_name
from penstock_operator.simulation.memory_cluster import MemoryCluster
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

IMMEDIATE = {"rollout": {"strategy": "immediate"}}


def begin(*names: str) -> World:
    """A world with these versions live one after the other."""
    world = World()
    for name in names:
        add(world, name)
        asyncio.run(world.settle())
    return world


def add(world: World, name: str) -> None:
    world.add_version(name, "sha256:" + name[-1] * 64, **IMMEDIATE)


async def planned(world: World) -> Plan:
    names = [name for plural, _, name in world.cluster.objects if plural == MODEL_VERSIONS.plural]
    return decide(await look(world.cluster, world, Silence(), NAMESPACE, MODEL, names, world.now), world.policy)


def plans() -> Iterator[tuple[World, Plan]]:
    """Every plan of two rollouts, a roll-back and a deletion, before it is carried out."""
    world = begin()
    edits: list[Any] = [
        lambda: add(world, "flights-1"),
        lambda: add(world, "flights-2"),
        lambda: world.annotate("flights-2", rollback="worse"),
        lambda: asyncio.run(world.delete_version("flights-2")),
        lambda: asyncio.run(world.delete_version("flights-1")),
    ]
    for edit in edits:
        edit()
        for _ in range(40):
            plan = asyncio.run(planned(world))
            yield world, plan
            asyncio.run(world.operate())
            if not any([plan.operations, world.run_jobs(), world.make_pods(), world.apply_route(), world.collect()]):
                break


def is_guarded(operation: Operation, world: World) -> bool:
    """Whether it says of which state it speaks. What is only made to be there (an InferenceService, a Job) need not."""
    there = world.cluster.objects.get((operation.kind.plural, operation.namespace, operation.name))
    current = there["metadata"]["resourceVersion"] if there is not None else ""
    match operation.verb:
        case Verb.STATUS | Verb.FINALIZERS:
            return operation.resource_version == current != ""
        case Verb.DELETE:
            return there is not None and (operation.uid, operation.resource_version) == (there["metadata"]["uid"], current)
        case Verb.APPLY if operation.kind == CONFIG_MAPS:
            return operation.resource_version == current != ""
    return True


def test_every_call_that_could_undo_anothers_names_what_was_seen() -> None:
    seen = set()
    for world, plan in plans():
        for operation in plan.operations:
            assert is_guarded(operation, world), operation
            seen.add((operation.verb, operation.kind.kind))
    assert {
        (Verb.STATUS, "ModelVersion"), (Verb.FINALIZERS, "ModelVersion"), (Verb.DELETE, "InferenceService"),
        (Verb.CREATE, "ConfigMap"), (Verb.APPLY, "ConfigMap"), (Verb.DELETE, "ConfigMap"),
    } <= seen  # fmt: skip


def test_a_status_names_it_on_the_wire_too() -> None:
    for _, plan in plans():
        for operation in plan.operations:
            if operation.verb is Verb.STATUS:
                assert operation.document["metadata"]["resourceVersion"] == operation.resource_version


def first(verb: Verb, kind: Any) -> tuple[World, list[Operation]]:
    """The world at the first plan that makes such a call, and the plan from there on."""
    for world, plan in plans():
        at = next((i for i, one in enumerate(plan.operations) if one.verb is verb and one.kind == kind), None)
        if at is not None:
            return world, list(plan.operations[at:])
    raise AssertionError("no plan makes this call")


@pytest.mark.parametrize(
    "verb, kind", [(Verb.APPLY, CONFIG_MAPS), (Verb.STATUS, MODEL_VERSIONS), (Verb.DELETE, INFERENCE_SERVICES)]
)
def test_what_has_changed_meanwhile_is_left_as_it_is_and_ends_the_plan(verb: Verb, kind: Any) -> None:
    world, operations = first(verb, kind)
    operation = operations[0]
    key = (kind.plural, operation.namespace, operation.name)
    there = world.cluster.objects[key]
    labels = {**(there["metadata"].get("labels") or {}), "touched": "by somebody else"}
    changed = world.cluster.put(kind, {**there, "metadata": {**there["metadata"], "labels": labels}})
    outcome = asyncio.run(carry_out(Plan(tuple(operations), 0.0), world.cluster))
    assert outcome.stale
    assert outcome.done == 0
    assert world.cluster.objects[key] == changed


class Counting(MemoryCluster):
    """Counts what is changed."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    async def apply(self, kind: Any, document: Any) -> Any:
        self.changes += 1
        return await super().apply(kind, document)

    async def apply_status(self, kind: Any, document: Any) -> Any:
        self.changes += 1
        return await super().apply_status(kind, document)

    async def patch(self, kind: Any, namespace: str, name: str, document: Any) -> Any:
        self.changes += 1
        return await super().patch(kind, namespace, name, document)


def test_who_loses_the_lease_in_the_middle_of_a_plan_stops_there() -> None:
    world = begin("flights-1")
    add(world, "flights-2")
    plan = asyncio.run(planned(world))
    assert len(plan.operations) > 1
    cluster, left = Counting(), [True, False]
    cluster.objects = dict(world.cluster.objects)
    outcome = asyncio.run(carry_out(plan, cluster, lambda: left.pop(0)))
    assert (outcome.done, cluster.changes) == (1, 1)
    assert isinstance(outcome.error, Changed)


async def run_until(controller: Controller, condition: Any) -> None:
    running = asyncio.create_task(controller.run())
    try:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - nothing tells that nothing is done
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("leads", [True, False])
def test_only_the_leases_holder_changes_anything(leads: bool) -> None:
    async def go() -> None:
        world = begin_sync()
        cluster = Counting()
        cluster.objects = dict(world.cluster.objects)
        controller = Controller(cluster, world, Policy(), may_act=lambda: leads)
        await run_until(controller, lambda: cluster.changes if leads else controller.synced and not controller.waiting)
        assert bool(cluster.changes) is leads

    asyncio.run(go())


class Slow(Controller):
    """Nothing is to be done for any model, and for one it takes for ever."""

    def __init__(self) -> None:
        super().__init__(MemoryCluster(), World(), Policy())
        self.begun = {"slow": asyncio.Event(), "other": asyncio.Event()}

    async def _turn(self, model: tuple[str, str]) -> float:
        self.begun[model[1]].set()
        if model[1] == "slow":
            await asyncio.Event().wait()
        return 0.0


def test_a_model_that_takes_long_and_is_due_again_holds_no_other_up() -> None:
    async def go() -> None:
        controller = Slow()
        controller.soon((NAMESPACE, "slow"))
        running = asyncio.create_task(controller.run())
        async with asyncio.timeout(30):
            await controller.begun["slow"].wait()
            controller.soon((NAMESPACE, "slow"))
            controller.soon((NAMESPACE, "other"), 0.05)
            await controller.begun["other"].wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(go())


def begin_sync() -> World:
    world = World()
    add(world, "flights-1")
    return world


def test_the_route_comes_after_the_status_that_it_follows_from() -> None:
    """An operator that dies in between leaves what was meant in the status, never a route that no status tells of."""
    for world, plan in plans():
        weights = {name: world.status(name).get("weight", 0) for name in ("flights-1", "flights-2")}
        for operation in plan.operations:
            if operation.kind == CONFIG_MAPS and operation.verb in (Verb.CREATE, Verb.APPLY):
                assert operation.name == route_name(MODEL)
                text = operation.document["data"]["route.yaml"]
                assert weights["flights-2"] == 100 or "model: flights-2, weight: 100" not in text

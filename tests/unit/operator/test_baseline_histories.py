"""A baseline's trial in a life that is rough: operators that die, look at old caches, lose objects. It ends as if nothing had."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock_operator.cluster import INFERENCE_SERVICES, PODS
from penstock_operator.simulation.memory_cluster import MemoryCluster
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE, Died
from penstock_operator.simulation.world import World

OLD, NEW = ("sha256:" + letter * 64 for letter in "ab")
BASE = "flights-2-base"
STEPS = [5, 25, 50, 100]
"""Two that have a baseline, and two that have none."""


@pytest.mark.parametrize("die_every", [2, 3, 5])
@pytest.mark.parametrize("shadow", [None, {"fraction": 0.5}])
def test_an_operator_that_dies_before_every_so_many_calls_ends_where_one_that_lives_does(
    die_every: int, shadow: dict[str, float] | None
) -> None:
    async def life(world: World) -> None:
        async def live_on() -> None:
            for _ in range(1000):
                world.die_at = world.calls + die_every
                try:
                    plan = await world.operate()
                except Died:
                    world.restart()
                    continue
                moved = [world.run_jobs(), world.make_pods(), world.apply_route(), world.collect()]
                if not plan.operations and not any(moved):
                    return
            raise AssertionError("still moving")

        await live_on()
        world.add_version("flights-2", NEW, rollout={"baseline": True, "steps": STEPS} | ({"shadow": shadow} if shadow else {}))
        await live_on()
        assert world.route()[BASE] == ((0, None) if shadow else (5, None))
        world.annotate("flights-2", promote="100")
        await live_on()
        assert world.services() == {MODEL, "flights-1", "flights-2"}

    world = World()
    world.add_version("flights-1", OLD, rollout={"strategy": "immediate"})
    asyncio.run(life(world))
    assert world.route() == {"flights-1": (0, None), "flights-2": (100, None)}


MOVES = st.lists(
    st.tuples(
        st.sampled_from(
            ["round"] * 6 + ["die"] * 4 + ["stale"] * 3 + ["apply"] * 3 + ["cache", "gone", "gone", "new transformer"]
        ),
        st.integers(0, 12),
    ),
    max_size=25,
)
SHADOWS: list[dict[str, Any]] = [{}, {"shadow": {"fraction": 0.5}}]


async def disturb(world: World, moves: list[tuple[str, int]]) -> None:
    cache: MemoryCluster | None = None
    for move, number in moves:
        match move:
            case "round":
                await world.round()
            case "die":
                await world.operate_and_die(number)
            case "cache":
                cache = world.keep_cache()
            case "stale" if cache is not None:
                await world.operate(cache)
            case "apply":
                world.apply_route(number)
            case "gone":
                # The candidate's own only once it is in the route: on its way there others' tests have it.
                name = "flights-2" if number % 2 and "flights-2" in world.route() else BASE
                world.remove(INFERENCE_SERVICES, NAMESPACE, name)
                world.collect()
            case "new transformer" if world.transformers:
                uid = list(world.transformers)[number % len(world.transformers)]
                (name,) = [name for (_, _, name), one in world.cluster.objects.items() if one["metadata"]["uid"] == uid]
                world.remove(PODS, NAMESPACE, name)
                world.add_transformer(name)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.booleans(), st.sampled_from(SHADOWS), st.lists(st.tuples(st.sampled_from([0, 5, 25, 50, 100]), MOVES), max_size=4))
def test_whatever_happens_in_a_trial_it_ends_as_if_nothing_had(
    own: bool, shadow: dict[str, Any], history: list[tuple[int, list[tuple[str, int]]]]
) -> None:
    """Promotions only rise: one that is taken back binds who has to begin anew, and not who is beyond it."""

    async def both() -> list[tuple[Any, ...]]:
        ends = []
        for rough in (False, True):
            world = World()
            if own:
                world.apply_service(OLD)
            else:
                world.add_version("flights-1", OLD, rollout={"strategy": "immediate"})
            await world.settle()
            rollout = {"baseline": True, "steps": STEPS, "keepForRollback": "0s", **shadow}
            world.add_version("flights-2", NEW, rollout=rollout, runtime={"replicas": {"min": 2}})
            most = 0
            for promoted, moves in history:
                if rough:
                    await disturb(world, moves)
                await world.settle()
                if promoted > most:
                    most = promoted
                    world.annotate("flights-2", promote=str(most))
            await world.settle()
            ends.append((world.route(), world.services(), world.status("flights-2")["stage"]))
        return ends

    calm, rough = asyncio.run(both())
    assert rough == calm

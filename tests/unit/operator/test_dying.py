"""An operator that dies again and again in the middle of what it does: it ends where one that lives does."""

import asyncio

import pytest

from penstock_operator.simulation.watched_cluster import Died
from penstock_operator.simulation.world import World

A, B, OWN = ("sha256:" + letter * 64 for letter in "abd")
IMMEDIATE = {"rollout": {"strategy": "immediate"}}
MANUAL = {"rollout": {"strategy": "manual", "steps": [5, 50, 100]}}


async def whole_life(world: World, die_every: int) -> None:
    """Two versions, a roll-back, a deletion; the operator dies before its `die_every`-th call, again and again."""

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

    world.add_version("flights-1", A, **IMMEDIATE)
    await live_on()
    world.add_version("flights-2", B, **MANUAL)
    world.annotate("flights-2", promote="100")
    await live_on()
    world.annotate("flights-2", rollback="worse")
    await live_on()
    await world.delete_version("flights-1")
    await live_on()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("die_every", [2, 3, 4, 5, 7])
def test_an_operator_that_dies_before_every_so_many_calls_ends_where_one_that_lives_does(own: bool, die_every: int) -> None:
    ends = []
    for every in (die_every, 10**9):
        world = World()
        if own:
            world.apply_service(OWN)
        asyncio.run(whole_life(world, every))
        ends.append((world.route(), world.services(), world.status("flights-2").get("stage"), world.status("flights-1")))
    assert ends[0] == ends[1]

"""An operator that dies in the middle of what it does, after each call that it makes and at any: it ends where one that lives
does."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from penstock_operator.simulation.watched_cluster import Died
from penstock_operator.simulation.world import World

A, B, OWN = ("sha256:" + letter * 64 for letter in "abd")
IMMEDIATE = {"rollout": {"strategy": "immediate"}}
MANUAL = {"rollout": {"strategy": "manual", "steps": [5, 50, 100]}}


async def whole_life(world: World, until_death: Callable[[], int]) -> int:
    """Two versions, a roll-back, a deletion; the operator lives for so many calls, again and again. How often it died."""
    deaths = 0

    async def live_on() -> None:
        nonlocal deaths
        for _ in range(1000):
            if world.die_at is None:
                world.die_at = world.calls + until_death()
            try:
                plan = await world.operate()
            except Died:
                deaths += 1
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
    return deaths


NEVER = 10**9


def live(own: bool, until_death: Callable[[], int]) -> tuple[World, int, tuple[Any, ...]]:
    """The world after such a life, the deaths in it, and what users see at its end."""
    world = World()
    if own:
        world.apply_service(OWN)
    deaths = asyncio.run(whole_life(world, until_death))
    end = world.route(), world.services(), world.status("flights-2").get("stage"), world.status("flights-1")
    return world, deaths, end


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("die_every", [2, 3, 4, 5, 7])
def test_an_operator_that_dies_before_every_so_many_calls_ends_where_one_that_lives_does(own: bool, die_every: int) -> None:
    _, deaths, end = live(own, lambda: die_every)
    assert deaths > 5
    assert end == live(own, lambda: NEVER)[2]


@pytest.mark.parametrize(("own", "step"), [(False, 1), (True, 3)])
def test_killed_once_after_each_single_call_that_it_makes(own: bool, step: int) -> None:
    """The calls are counted first; then there is a life for each in which it is the last before the operator dies."""
    world, none, undisturbed = live(own, lambda: NEVER)
    assert none == 0
    assert world.calls > 40
    for call in range(1, world.calls, step):
        lives = iter((call + 1, NEVER))
        _, deaths, end = live(own, lives.__next__)
        assert (deaths, end) == (1, undisturbed), f"killed after call {call}"


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_fifty_times_and_more(seed: int) -> None:
    chance, deaths = random.Random(seed), 0
    undisturbed = live(True, lambda: NEVER)[2]
    while deaths < 50:
        _, died, end = live(True, lambda: chance.randint(2, 12))
        assert end == undisturbed
        deaths += died

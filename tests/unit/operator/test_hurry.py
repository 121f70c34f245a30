"""How soon a model is looked at again while a transformer does not answer: at once only where a version waits for it."""

import asyncio

from penstock_operator.simulation.world import World

A, B = ("sha256:" + letter * 64 for letter in "ab")


def test_a_silent_pod_of_a_model_at_rest_is_no_hurry() -> None:
    world = World()
    world.add_version("flights-1", A, rollout={"strategy": "immediate"})
    asyncio.run(world.settle())
    poll_s = world.policy.poll_s
    assert asyncio.run(world.operate()).look_again_s == world.policy.idle_s
    silent = next(iter(world.transformers.values()))
    silent.deaf = True
    asyncio.run(world.operate())
    assert asyncio.run(world.operate()).look_again_s == 4 * poll_s
    silent.deaf = False
    world.add_version("flights-2", B, rollout={"strategy": "manual"})
    asyncio.run(world.settle())
    silent.deaf = True
    asyncio.run(world.operate())
    assert asyncio.run(world.operate()).look_again_s == poll_s

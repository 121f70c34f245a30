"""How long a pod has been silent: by a clock that nobody sets, and of pods that are there."""

import asyncio
from typing import Any, cast

import pytest

from penstock_operator.cluster import MODEL_VERSIONS, PODS
from penstock_operator.controller import Controller
from penstock_operator.looking import Silence, look
from penstock_operator.policy import Policy
from penstock_operator.seen import Pod
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World


@pytest.fixture
def world() -> World:
    """A version that is live, and one of two transformers that cannot be asked."""
    world = World()
    world.apply_service("sha256:" + "0" * 64)
    world.add_version("flights-1", "sha256:" + "a" * 64, rollout={"strategy": "immediate"})
    asyncio.run(world.settle())
    next(iter(world.transformers.values())).deaf = True
    return world


def silent(world: World, silence: Silence) -> list[Pod]:
    """The pods that a look finds silent, or has just begun to."""
    names = [name for plural, _, name in world.cluster.objects if plural == MODEL_VERSIONS.plural]
    seen = asyncio.run(look(world.cluster, world, silence, NAMESPACE, MODEL, names, world.now))
    return [pod for pod in seen.pods if pod.answer is None]


def test_a_clock_that_is_set_forward_makes_no_pod_silent_for_long(world: World) -> None:
    silence = Silence()
    silent(world, silence)
    world.now += 3600.0
    (pod,) = silent(world, silence)
    assert pod.silent_s < Policy().silent_s


def test_of_a_pod_that_ended_while_it_was_silent_nothing_is_kept(world: World) -> None:
    silence = Silence()
    (pod,) = silent(world, silence)
    assert cast(Any, silence)._since
    asyncio.run(world.cluster.delete(PODS, NAMESPACE, pod.name))
    assert silent(world, silence) == []
    assert not cast(Any, silence)._since


def test_of_a_model_that_nobody_looks_at_any_more_nothing_is_kept(world: World) -> None:
    controller: Any = Controller(world.cluster, world, Policy())
    silent(world, controller._silence)
    assert controller._silence._since
    assert not controller._is_known((NAMESPACE, MODEL))
    assert not controller._silence._since

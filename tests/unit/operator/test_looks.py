"""How often a version on trial is looked at: the older its stage, the less a few seconds more can change."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

import pytest

from penstock.evidence.document import Evidence
from penstock.evidence.quality import QualityDocument
from penstock_operator.cluster import JOBS, MODEL_VERSIONS, Object
from penstock_operator.judgement import LOOK_S, due_in_s, is_due, look_s
from penstock_operator.looking import Silence, look
from penstock_operator.model_version import ModelVersion, read_model_version
from penstock_operator.seen import Answer
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

T = TypeVar("T")
W = TypeVar("W", bound=World)


def on_trial(world: W) -> tuple[W, ModelVersion]:
    """A version that has just come to its first step, and was looked at."""
    for name, digit, strategy in (("flights-1", "a", "immediate"), ("flights-2", "b", "evidence")):
        world.add_version(name, "sha256:" + digit * 64, rollout={"strategy": strategy})
        asyncio.run(world.settle())
    return world, read_model_version(world.cluster.objects[MODEL_VERSIONS.plural, NAMESPACE, "flights-2"])


@pytest.mark.parametrize(("age_s", "every_s"), [(0, LOOK_S), (100, LOOK_S), (120, 6.0), (240, 12.0), (600, 30.0), (7200, 30.0)])
def test_looks_come_with_a_twentieth_of_the_stages_age(age_s: float, every_s: float) -> None:
    world, version = on_trial(World())
    assert look_s(version, world.now + age_s) == pytest.approx(every_s, abs=0.01)


def test_a_look_is_due_when_so_long_has_passed_since_the_last_and_not_before() -> None:
    world, version = on_trial(World())
    assert not is_due(version, world.now + LOOK_S - 0.01)
    assert is_due(version, world.now + LOOK_S)
    assert due_in_s(version, world.now + 2.0) == pytest.approx(LOOK_S - 2.0, abs=0.01)


@pytest.mark.parametrize("age_s", [0.0, 119.0, 300.0, 599.0, 7200.0])
def test_it_is_time_when_a_look_said_that_it_would_be(age_s: float) -> None:
    world, _ = on_trial(World())
    world.now += age_s
    plan = asyncio.run(world.operate())
    version = read_model_version(world.cluster.objects[MODEL_VERSIONS.plural, NAMESPACE, "flights-2"])
    assert not is_due(version, world.now + plan.look_again_s - 0.01)
    assert is_due(version, world.now + plan.look_again_s)


def test_a_version_that_is_not_on_trial_is_never_due() -> None:
    world, _ = on_trial(World())
    live = read_model_version(world.cluster.objects[MODEL_VERSIONS.plural, NAMESPACE, "flights-1"])
    assert not is_due(live, world.now + 3600.0)


def test_of_a_version_that_is_verified_the_job_is_read_no_more() -> None:
    world, _ = on_trial(World())

    def jobs() -> tuple[set[str], set[str]]:
        """Those that there are, and those that a look has read."""
        names = [name for plural, _, name in world.cluster.objects if plural == MODEL_VERSIONS.plural]
        seen = asyncio.run(look(world.cluster, world, Silence(), NAMESPACE, MODEL, names, world.now))
        return {name for plural, _, name in world.cluster.objects if plural == JOBS.plural}, set(seen.jobs)

    assert jobs() == ({"flights-1-verify", "flights-2-verify"}, set())
    world.add_version("flights-3", "sha256:" + "c" * 64)
    for _ in range(3):
        asyncio.run(world.operate())
    assert jobs() == ({"flights-1-verify", "flights-2-verify", "flights-3-verify"}, {"flights-3-verify"})


class Slow(World):
    """Its pods and its sinks take a few turns of the loop to answer, and tell who was asked, and in which task."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self.tasks: set[object] = set()

    async def routes_and_evidence(self, pods: Sequence[Object]) -> tuple[Mapping[str, Answer], Sequence[Evidence]]:
        return await self._slowly("pods", super().routes_and_evidence(pods))

    async def quality(self, model: str) -> Sequence[QualityDocument] | None:
        return await self._slowly("sinks", super().quality(model))

    async def _slowly(self, who: str, answer: Awaitable[T]) -> T:
        self.heard.append(f"{who} asked")
        self.tasks.add(asyncio.current_task())
        for _ in range(20):
            await asyncio.sleep(0)
        self.heard.append(f"{who} told")
        return await answer


@pytest.mark.parametrize("outcomes", [None, [], [QualityDocument("flights", [])]])
def test_sinks_are_asked_beside_the_pods_and_no_task_is_made_where_none_is_known(
    outcomes: list[QualityDocument] | None,
) -> None:
    world, _ = on_trial(Slow())
    world.outcomes = outcomes
    world.now += LOOK_S
    world.heard.clear()
    world.tasks.clear()
    asyncio.run(world.operate())
    if outcomes is None:
        assert world.heard == ["pods asked", "pods told", "sinks asked", "sinks told"]
        assert len(world.tasks) == 1
    else:
        assert set(world.heard[:2]) == {"pods asked", "sinks asked"}
        assert set(world.heard[2:]) == {"pods told", "sinks told"}

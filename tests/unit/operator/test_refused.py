"""Objects that the API server does not take, for a quota, a policy, KServe's webhook: it is said, and holds up nothing else."""

import asyncio
from typing import Any

import pytest

from penstock_operator.apply import Outcome, carry_out
from penstock_operator.cluster import CONFIG_MAPS, INFERENCE_SERVICES, JOBS, ClusterError, Kind, Object, Refused
from penstock_operator.plan import Operation, Plan, Verb
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
IMMEDIATE = {"rollout": {"strategy": "immediate"}}
WHY = "exceeded quota: models, requested: 1, used: 2, limited: 2"


def rounds(world: World, count: int = 30) -> None:
    """As `World.settle`, which would wait for the refused call to go away."""

    async def all_of_them() -> None:
        for _ in range(count):
            await world.round()
            world.apply_route()

    asyncio.run(all_of_them())


def shown(world: World, name: str) -> tuple[Any, ...]:
    status = world.status(name)
    return status["phase"], status["reason"], status.get("message", "")


@pytest.mark.parametrize(
    "kind, name, phase, reason",
    [
        (JOBS, "flights-1-verify", "Verifying", "JobRefused"),
        (INFERENCE_SERVICES, "flights-1", "Warming", "PredictorRefused"),
        (INFERENCE_SERVICES, MODEL, "Promoting", "TransformerRefused"),
    ],
)
def test_what_is_refused_is_said_and_tried_again(kind: Kind, name: str, phase: str, reason: str) -> None:
    world = World()
    world.refuses[kind, name] = WHY
    world.add_version("flights-1", A, **IMMEDIATE)
    rounds(world)
    assert shown(world, "flights-1") == (phase, reason, WHY)
    world.refuses.clear()
    rounds(world)
    assert shown(world, "flights-1")[0] == "Live"


def test_a_job_without_a_pod_is_said() -> None:
    """The job is taken, its pods are not: nothing but the job's events says why."""
    world = World()
    world.add_version("flights-1", A, **IMMEDIATE)

    async def look_on() -> None:
        for _ in range(5):
            await world.operate()

    asyncio.run(look_on())
    assert shown(world, "flights-1") == ("Verifying", "Verifying", "")
    world.now += 20
    asyncio.run(look_on())
    said = "its job has no pod: kubectl describe job flights-1-verify"
    assert shown(world, "flights-1") == ("Verifying", "Verifying", said)
    world.now += 7200
    asyncio.run(look_on())
    assert shown(world, "flights-1") == ("Failed", "VerificationTimedOut", said)


def test_a_roll_back_waits_for_no_refused_predictor() -> None:
    world = World()
    for name, digest in (("flights-1", A), ("flights-2", B)):
        world.add_version(name, digest, **IMMEDIATE)
        rounds(world)
    world.refuses[INFERENCE_SERVICES, "flights-3"] = WHY
    world.add_version("flights-3", C, **IMMEDIATE)
    rounds(world)
    assert shown(world, "flights-3") == ("Warming", "PredictorRefused", WHY)
    world.annotate("flights-2", rollback="worse")
    rounds(world, 3)
    assert world.route() == {"flights-1": (100, None)}
    assert shown(world, "flights-2")[0] == "RolledBack"


class Refusing:
    """A cluster that answers every call with an error."""

    def __init__(self, error: ClusterError) -> None:
        self.error = error
        self.calls: list[str] = []

    async def apply(self, kind: Kind, document: Object) -> Object:
        self.calls.append(document["metadata"]["name"])
        raise self.error


def outcome(error: ClusterError, *kinds: Kind) -> tuple[Outcome, list[str]]:
    """Of a plan that applies an object of each kind."""
    cluster = Refusing(error)
    operations = [
        Operation(Verb.APPLY, kind, NAMESPACE, kind.plural, {"metadata": {"name": kind.plural, "namespace": NAMESPACE}})
        for kind in kinds
    ]
    return asyncio.run(carry_out(Plan(tuple(operations), 0.0), cluster)), cluster.calls  # type: ignore[arg-type]


def test_what_ends_a_plan() -> None:
    objects = (JOBS, INFERENCE_SERVICES, CONFIG_MAPS, JOBS)
    for error in (Refused("denied", 403), ClusterError("the webhook is away", 500)):
        ended, calls = outcome(error, *objects)
        assert calls == [JOBS.plural, INFERENCE_SERVICES.plural, CONFIG_MAPS.plural]
        assert set(ended.refused) == {(JOBS, JOBS.plural), (INFERENCE_SERVICES, INFERENCE_SERVICES.plural)}
        assert (ended.error, ended.done, ended.stale) == (error, 0, False)
    # Whatever else is asked of a server that does not answer takes as long.
    ended, calls = outcome(ClusterError("no answer"), *objects)
    assert (calls, ended.refused) == ([JOBS.plural], {})

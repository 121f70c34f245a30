"""Objects that the API server does not take, for a quota, a policy, KServe's webhook: it is said, and holds up nothing else."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from penstock_operator.apply import Outcome, carry_out
from penstock_operator.cluster import (
    CONFIG_MAPS,
    INFERENCE_SERVICES,
    JOBS,
    MODEL_VERSIONS,
    ClusterError,
    Kind,
    Object,
    Refused,
)
from penstock_operator.plan import Operation, Plan, Verb
from penstock_operator.refusals import LONGEST_S, noted, put_off, wait_s
from penstock_operator.seen import ObjectKey, Refusal, Seen
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
IMMEDIATE = {"rollout": {"strategy": "immediate"}}
WHY = "exceeded quota: models, requested: 1, used: 2, limited: 2"
SILENT = ClusterError("no answer to PATCH /apis/serving.kserve.io/v1beta1: TimeoutError")


def rounds(world: World, count: int = 30) -> None:
    async def all_of_them() -> None:
        for _ in range(count):
            await world.round()
            world.apply_route()

    asyncio.run(all_of_them())


def conditions(world: World, name: str) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one.get("message", "")) for one in world.status(name)["conditions"]}


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
    world.now += LONGEST_S
    rounds(world)
    assert shown(world, "flights-1")[0] == "Live"


@pytest.mark.parametrize(
    "kind, name, reason",
    [(JOBS, "flights-1-verify", "VerificationTimedOut"), (INFERENCE_SERVICES, "flights-1", "WarmingTimedOut")],
)
def test_what_is_refused_for_the_longest_time_fails_with_the_servers_words(kind: Kind, name: str, reason: str) -> None:
    world = World()
    world.refuses[kind, name] = WHY
    world.add_version("flights-1", A, **IMMEDIATE)
    rounds(world)
    world.now += 7190
    rounds(world)
    assert shown(world, "flights-1")[0] != "Failed"
    world.now += 10
    rounds(world)
    assert shown(world, "flights-1") == ("Failed", reason, WHY)


def test_a_change_that_is_refused_is_said_while_what_is_there_goes_on() -> None:
    world = World()
    world.add_version("flights-1", A, **IMMEDIATE)
    rounds(world)
    live = conditions(world, "flights-1")
    for name in ("flights-1", MODEL):
        edited(world, name)
        world.refuses[INFERENCE_SERVICES, name] = WHY
    rounds(world)
    assert conditions(world, "flights-1")["Ready"] == ("True", f"its change is not taken: {WHY}")
    assert conditions(world, "flights-1")["Acknowledged"] == (
        "True", f"all 2 transformer pods apply the route; its change is not taken: {WHY}"
    )  # fmt: skip
    assert shown(world, "flights-1")[0] == "Live"
    world.refuses.clear()
    world.now += LONGEST_S
    rounds(world)
    assert conditions(world, "flights-1") == live


def edited(world: World, name: str) -> None:
    """By somebody else, in a field that the operator has set."""
    there = world.cluster.objects[INFERENCE_SERVICES.plural, NAMESPACE, name]
    predictor = {**there["spec"]["predictor"], "minReplicas": 7}
    world.cluster.put(INFERENCE_SERVICES, {**there, "spec": {**there["spec"], "predictor": predictor}})


def test_a_job_without_a_pod_is_said() -> None:
    """The job is taken, its pods are not: nothing but the job's events says why."""
    world = World()
    world.add_version("flights-1", A, **IMMEDIATE)

    async def look_on() -> None:
        for _ in range(5):
            await world.operate()

    asyncio.run(look_on())
    assert shown(world, "flights-1") == ("Verifying", "Verifying", "")
    world.now += 60
    asyncio.run(look_on())
    said = "its job has no pod: kubectl describe job flights-1-verify"
    assert shown(world, "flights-1") == ("Verifying", "Verifying", said)
    world.now += 7200
    asyncio.run(look_on())
    assert shown(world, "flights-1") == ("Failed", "VerificationTimedOut", said)


@pytest.mark.parametrize("why", [WHY, SILENT])
def test_a_roll_back_waits_for_no_refused_predictor(why: str | ClusterError) -> None:
    world = World()
    for name, digest in (("flights-1", A), ("flights-2", B)):
        world.add_version(name, digest, **IMMEDIATE)
        rounds(world)
    world.refuses[INFERENCE_SERVICES, "flights-3"] = why
    world.add_version("flights-3", C, **IMMEDIATE)
    rounds(world)
    assert shown(world, "flights-3") == ("Warming", "PredictorRefused", str(why))
    world.annotate("flights-2", rollback="worse")
    rounds(world, 3)
    assert world.route() == {"flights-1": (100, None)}
    assert shown(world, "flights-2")[0] == "RolledBack"


def test_a_status_that_is_refused_holds_up_that_of_no_other_version() -> None:
    """As one may be whose spec a newer schema would not take."""
    world = World()
    for name, digest in (("flights-1", A), ("flights-2", B)):
        world.add_version(name, digest, **IMMEDIATE)
        rounds(world)
    world.refuses[MODEL_VERSIONS, "flights-1"] = "spec.runtime: Invalid value"
    world.annotate("flights-2", rollback="worse")
    rounds(world, 3)
    assert world.route() == {"flights-1": (100, None)}
    assert shown(world, "flights-2")[0] == "RolledBack"
    assert shown(world, "flights-1")[1] == "KeptForRollback"


def test_tries_come_less_and_less_often_and_what_is_said_is_of_the_last() -> None:
    """Words that differ each time make a status each, and a look by what the watch tells of that: no try of its own."""
    world = World()
    tries = world.refuses = Counting()
    world.add_version("flights-1", A, **IMMEDIATE)
    rounds(world)
    assert tries.made == 1
    moments = []
    for second in range(180):
        world.now += 1
        before = tries.made
        rounds(world, 5)
        moments += [second] * (tries.made - before)
    gaps = [after - before for before, after in pairwise(moments)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == LONGEST_S
    assert shown(world, "flights-1")[2] == f"port {tries.made} of no use"


class Counting(dict[ObjectKey, Any]):
    """What refuses a version's predictor, in other words each time."""

    made = 0

    def get(self, key: ObjectKey, default: Any = None) -> Any:
        if key != (INFERENCE_SERVICES, "flights-1"):
            return default
        self.made += 1
        return f"port {self.made} of no use"


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
    for error in (Refused("denied", 403), ClusterError("the webhook is away", 500), SILENT):
        ended, calls = outcome(error, *objects)
        assert calls == [JOBS.plural, INFERENCE_SERVICES.plural, CONFIG_MAPS.plural]
        assert set(ended.refused) == {(JOBS, JOBS.plural), (INFERENCE_SERVICES, INFERENCE_SERVICES.plural)}
        assert (ended.error, ended.done, ended.stale) == (error, 0, False)
    assert outcome(Refused("denied", 403), JOBS)[0].error is None


KEY = INFERENCE_SERVICES, "flights-1"


def apply_of(size: int) -> Operation:
    return Operation(Verb.APPLY, INFERENCE_SERVICES, NAMESPACE, "flights-1", {"size": size})


def seen_at(now: float, refused: dict[ObjectKey, Refusal]) -> Seen:
    return Seen(NAMESPACE, MODEL, now, refused=refused)


def test_when_it_is_tried_again() -> None:
    other = Operation(Verb.DELETE, INFERENCE_SERVICES, NAMESPACE, "flights-1")
    plan = Plan((apply_of(1), other), 0.0)
    refused = noted(seen_at(100.0, {}), plan, Outcome(1, refused={KEY: WHY}), 100.0)
    waiting = seen_at(100.2, refused)
    assert put_off(plan.operations, waiting) == (other,)
    assert wait_s(waiting) == pytest.approx(0.3)
    # Its time has come, somebody has changed what is asked for, or the clock has been set back by an hour.
    assert put_off(plan.operations, seen_at(101.0, refused)) == (other, apply_of(1))
    assert put_off((apply_of(2), other), waiting) == (other, apply_of(2))
    assert put_off(plan.operations, seen_at(-3500.0, refused)) == (other, apply_of(1))
    assert wait_s(seen_at(101.0, refused)) == float("inf")


def test_what_becomes_of_a_refusal() -> None:
    before = {KEY: Refusal(WHY, {"size": 1}, 110.0, 3)}
    tried = Plan((apply_of(1),), 0.0)
    # Not tried yet, taken, refused again, refused as another, not come to.
    assert noted(seen_at(100.0, before), Plan((), 0.0), Outcome(0), 111.0) == before
    assert noted(seen_at(110.0, before), tried, Outcome(1), 110.0) == {}
    assert noted(seen_at(110.0, before), tried, Outcome(0, refused={KEY: "no"}), 120.0)[KEY] == Refusal(
        "no", {"size": 1}, 124.0, 4
    )
    other = noted(seen_at(105.0, before), Plan((apply_of(2),), 0.0), Outcome(0, refused={KEY: "no"}), 105.0)
    assert other[KEY] == Refusal("no", {"size": 2}, 105.5, 1)
    assert noted(seen_at(110.0, before), tried, Outcome(0, ClusterError("away")), 110.0) == before
    # Nobody asks for it any more.
    assert noted(seen_at(110.0, before), Plan((), 0.0), Outcome(0), 110.0) == {}

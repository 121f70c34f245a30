"""Objects that the API server does not take, for a quota, a policy, KServe's webhook: it is said, and holds up nothing else."""

import asyncio
from collections.abc import Iterable
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
from penstock_operator.refusals import LONGEST_S
from penstock_operator.seen import ObjectKey
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
IMMEDIATE = {"rollout": {"strategy": "immediate"}}
WHY = "exceeded quota: models, requested: 1, used: 2, limited: 2"
SILENT = ClusterError("no answer to PATCH /apis/serving.kserve.io/v1beta1: TimeoutError")
AWAY = ClusterError("failed calling webhook: connection refused", 500)
NO = Refused("no", 403)


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


@pytest.mark.parametrize("kind, name", [(JOBS, "flights-1-verify"), (INFERENCE_SERVICES, "flights-1")])
@pytest.mark.parametrize("before", [SILENT, AWAY, WHY])
def test_an_api_server_that_was_away_for_the_longest_time_fails_nothing(
    kind: Kind, name: str, before: str | ClusterError
) -> None:
    world = World()
    world.refuses[kind, name] = before
    world.add_version("flights-1", A, **IMMEDIATE)
    for _ in range(5):
        rounds(world)
        world.now += LONGEST_S
    world.now += 7200
    world.refuses.clear()
    rounds(world)
    assert shown(world, "flights-1")[0] == "Live"


@pytest.mark.parametrize("kind, name", [(JOBS, "flights-1-verify"), (INFERENCE_SERVICES, "flights-1")])
def test_nor_does_a_webhook_that_starts_after_it(kind: Kind, name: str) -> None:
    world = World()
    world.refuses[kind, name] = SILENT
    world.add_version("flights-1", A, **IMMEDIATE)
    rounds(world)
    world.now += 7300
    world.refuses[kind, name] = AWAY
    for _ in range(59):
        world.now += 1
        rounds(world, 5)
    assert shown(world, "flights-1")[0] != "Failed"
    assert shown(world, "flights-1")[2] == str(AWAY)
    world.refuses.clear()
    for _ in range(5):
        world.now += 7
        rounds(world, 5)
    assert shown(world, "flights-1")[0] == "Live"


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


def test_of_many_changes_that_get_no_answer_a_roll_back_waits_for_one_and_each_has_its_turn() -> None:
    """As after an upgrade that changes every predictor, while KServe's webhook is silent."""
    world = World()
    for name, digest in (("flights-1", A), ("flights-2", B)):
        world.add_version(name, digest, **IMMEDIATE)
        rounds(world)
    changed = ["flights-1", "flights-2", MODEL]
    for name in changed:
        edited(world, name)
    world.refuses = tries = Silence((INFERENCE_SERVICES, name) for name in changed)
    world.annotate("flights-2", rollback="worse")
    rounds(world, 1)
    assert len(tries.made) == 1
    rounds(world)
    assert len(tries.made) == 1
    assert world.route() == {"flights-1": (100, None)}
    assert shown(world, "flights-2")[0] == "RolledBack"
    assert conditions(world, "flights-1")["Ready"] == ("True", f"its change is not taken: {SILENT}")
    for second in range(10):
        world.now += 1
        rounds(world, 1)
        assert len(tries.made) <= second + 2
    # Once it was rolled back nobody asks for the change of the second any more.
    assert {name for _, name in tries.made[1:]} == {"flights-1", MODEL}


def test_what_is_put_off_behind_one_that_gets_no_answer_is_before_it_the_next_time() -> None:
    world = World()
    world.add_version("flights-1", A, **IMMEDIATE)
    rounds(world)
    edited(world, MODEL)
    world.refuses[INFERENCE_SERVICES, MODEL] = SILENT
    world.add_version("flights-2", B, **IMMEDIATE)
    for _ in range(20):
        world.now += 1
        rounds(world, 1)
    assert shown(world, "flights-2")[0] == "Live"


class Silence(dict[ObjectKey, Any]):
    """What some objects get no answer for, and how often each was tried."""

    def __init__(self, keys: Iterable[ObjectKey]) -> None:
        super().__init__(dict.fromkeys(keys, SILENT))
        self.made: list[ObjectKey] = []

    def get(self, key: ObjectKey, default: Any = None) -> Any:
        if key in self:
            self.made.append(key)
        return super().get(key, default)


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
    for error in (Refused("denied", 403), AWAY, SILENT):
        ended, calls = outcome(error, *objects)
        assert calls[-1] == CONFIG_MAPS.plural
        assert {*ended.refused, *ended.untried} == {(JOBS, JOBS.plural), (INFERENCE_SERVICES, INFERENCE_SERVICES.plural)}
        assert (ended.error, ended.done, ended.stale) == (error, 0, False)
    assert outcome(Refused("denied", 403), JOBS)[0].error is None


def test_one_that_gets_no_answer_is_the_last_that_is_tried() -> None:
    objects = (JOBS, INFERENCE_SERVICES, CONFIG_MAPS)
    for error in (AWAY, SILENT):
        ended, calls = outcome(error, *objects)
        assert calls == [JOBS.plural, CONFIG_MAPS.plural]
        assert (ended.refused, ended.untried) == (
            {(JOBS, JOBS.plural): error}, {(INFERENCE_SERVICES, INFERENCE_SERVICES.plural): error}
        )  # fmt: skip
    ended, calls = outcome(Refused("denied", 403), *objects)
    assert calls == [JOBS.plural, INFERENCE_SERVICES.plural, CONFIG_MAPS.plural]
    assert not ended.untried

"""Autoscalers by work in flight: there where the operator's own pods scale, as the InferenceService says, and gone with it."""

import asyncio
from typing import Any

import pytest

from penstock_operator.cache import Cache
from penstock_operator.cluster import INFERENCE_SERVICES, MODEL_VERSIONS, SCALERS, Kind, Object
from penstock_operator.policy import Policy
from penstock_operator.simulation.memory_cluster import MemoryCluster
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

A, B, OWN = ("sha256:" + letter * 64 for letter in "abd")
IMMEDIATE = {"strategy": "immediate"}
SCALED = Policy(predictor_in_flight=8, transformer_in_flight=32, transformer_most=5, scale_down_s=60)
CLASS = "serving.kserve.io/autoscalerClass"


def settle(world: World) -> None:
    asyncio.run(world.settle())


def begin(policy: Policy = SCALED, *, own: bool = False, replicas: dict[str, int] | None = None) -> World:
    """A version Live."""
    world = World(policy=policy)
    if own:
        world.apply_service(OWN)
    add(world, "flights-1", A, replicas or {"min": 2, "max": 6}, IMMEDIATE)
    assert world.status("flights-1")["phase"] == "Live"
    return world


def add(world: World, name: str, digest: str, replicas: dict[str, int], rollout: dict[str, Any]) -> None:
    world.add_version(name, digest, runtime={"replicas": replicas}, rollout=rollout)
    settle(world)


def service(world: World, name: str) -> Object:
    return world.cluster.objects[INFERENCE_SERVICES.plural, NAMESPACE, name]


def class_of(world: World, name: str) -> str | None:
    found: str | None = service(world, name)["metadata"]["annotations"].get(CLASS)
    return found


def rescale(world: World, **replicas: int) -> None:
    there = world.cluster.objects[MODEL_VERSIONS.plural, NAMESPACE, "flights-1"]
    world.cluster.put(MODEL_VERSIONS, {**there, "spec": {**there["spec"], "runtime": {"replicas": replicas}}})
    settle(world)


def bounds(world: World) -> dict[str, tuple[int, int, str]]:
    """Fewest and most pods of what each autoscaler scales, and how much in flight a pod is meant to have."""
    found = {}
    for one in world.scalers().values():
        spec = one["spec"]
        (metric,) = spec["metrics"]
        assert metric["pods"]["metric"] == {"name": "penstock_in_flight"}
        found[spec["scaleTargetRef"]["name"]] = (
            spec["minReplicas"], spec["maxReplicas"], metric["pods"]["target"]["averageValue"]
        )  # fmt: skip
    return found


def test_a_versions_pods_scale_between_its_replicas() -> None:
    world = begin(own=True)
    assert class_of(world, "flights-1") == "external"
    assert bounds(world) == {"flights-1-predictor": (2, 6, "8")}
    (scaler,) = world.scalers().values()
    assert scaler["metadata"]["name"] != "flights-1-predictor", "KServe would take it for its own"
    (owner,) = scaler["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("InferenceService", service(world, "flights-1")["metadata"]["uid"])
    assert scaler["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 60


def test_a_transformer_that_the_operator_runs_scales_and_the_users_own_is_left_alone() -> None:
    world = begin()
    assert class_of(world, MODEL) == "external"
    assert service(world, MODEL)["spec"]["predictor"]["maxReplicas"] == 5
    assert bounds(world) == {"flights-predictor": (2, 5, "32"), "flights-1-predictor": (2, 6, "8")}
    own = begin(own=True)
    there = service(own, MODEL)
    own.cluster.put(
        INFERENCE_SERVICES, {**there, "metadata": {**there["metadata"], "annotations": {CLASS: "external"}}}
    )  # fmt: skip
    settle(own)
    assert bounds(own) == {"flights-1-predictor": (2, 6, "8")}


@pytest.mark.parametrize("policy", [SCALED, Policy()])
def test_where_nothing_scales_there_is_none(policy: Policy) -> None:
    world = begin(policy, own=True, replicas={"min": 2})
    assert class_of(world, "flights-1") == "none"
    assert world.scalers() == {}


def test_unless_it_is_asked_for_kserve_scales_and_nobody_looks_for_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no right to."""
    listed: list[Kind] = []
    before = MemoryCluster.list

    async def watched(self: MemoryCluster, kind: Kind, namespace: str | None, *, labels: str = "") -> Any:
        listed.append(kind)
        return await before(self, kind, namespace, labels=labels)

    monkeypatch.setattr(MemoryCluster, "list", watched)
    world = begin(Policy())
    assert class_of(world, "flights-1") is None
    assert world.scalers() == {}
    assert SCALERS not in listed
    begin()
    assert SCALERS in listed


def test_it_follows_the_versions_replicas() -> None:
    world = begin(own=True)
    rescale(world, min=1, max=9)
    assert bounds(world) == {"flights-1-predictor": (1, 9, "8")}
    rescale(world, min=3)
    assert class_of(world, "flights-1") == "none"
    assert world.scalers() == {}
    rescale(world, min=3, max=4)
    assert bounds(world) == {"flights-1-predictor": (3, 4, "8")}


def test_switched_on_it_takes_those_that_are_there() -> None:
    world = begin(Policy(), own=True)
    world.policy = SCALED
    settle(world)
    assert class_of(world, "flights-1") == "external"
    assert bounds(world) == {"flights-1-predictor": (2, 6, "8")}


def test_switched_off_those_that_are_there_stay_one_a_deployment() -> None:
    """With the setting go the rights; KServe's autoscaler beside ours would be one too many."""
    world = begin()
    before = world.scalers()
    world.policy = Policy()
    settle(world)
    rescale(world, min=2, max=7)
    assert class_of(world, "flights-1") == class_of(world, MODEL) == "external"
    assert world.scalers() == before
    add(world, "flights-2", B, {"min": 2, "max": 6}, IMMEDIATE)
    assert class_of(world, "flights-2") is None


def test_edited_or_deleted_by_hand_it_comes_back() -> None:
    world = begin(own=True)
    (name,) = world.scalers()
    there = world.scalers()[name]
    world.cluster.put(SCALERS, {**there, "spec": {**there["spec"], "maxReplicas": 100}})
    settle(world)
    assert bounds(world) == {"flights-1-predictor": (2, 6, "8")}
    world.remove(SCALERS, NAMESPACE, name)
    settle(world)
    assert bounds(world) == {"flights-1-predictor": (2, 6, "8")}


def test_an_inference_service_that_was_made_anew_has_its_own() -> None:
    world = begin(own=True)
    world.remove(INFERENCE_SERVICES, NAMESPACE, "flights-1")
    settle(world)
    (scaler,) = world.scalers().values()
    assert scaler["metadata"]["ownerReferences"][0]["uid"] == service(world, "flights-1")["metadata"]["uid"]


def test_one_that_somebody_else_made_for_the_model_is_left_alone() -> None:
    """The chart's have the model's label, too."""
    world = begin(own=True)
    target = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "flights-transformer"}}
    theirs = {"name": "flights-3-in-flight", "namespace": NAMESPACE, "labels": {"penstock.dev/model": MODEL}}
    made = world.cluster.put(SCALERS, {"metadata": theirs, "spec": target})
    rescale(world, min=2)
    assert world.scalers() == {"flights-3-in-flight": made}


def test_it_stays_with_a_version_that_is_kept_and_goes_with_one_that_is_not() -> None:
    world = begin(own=True)
    add(world, "flights-2", B, {"min": 1, "max": 3}, IMMEDIATE)
    assert world.status("flights-1")["stage"] == "Kept"
    assert bounds(world) == {"flights-1-predictor": (2, 6, "8"), "flights-2-predictor": (1, 3, "8")}
    world.now += 7200.0
    settle(world)
    assert bounds(world) == {"flights-2-predictor": (1, 3, "8")}
    asyncio.run(world.delete_version("flights-2"))
    settle(world)
    assert world.scalers() == {}


def test_a_baseline_scales_as_its_candidate() -> None:
    world = begin(own=True)
    rollout = {"strategy": "evidence", "baseline": True, "steps": [5, 100]}
    add(world, "flights-2", B, {"min": 2, "max": 4}, rollout)
    assert class_of(world, "flights-2-base") == class_of(world, "flights-2") == "external"
    of_both = {name: bounds(world)[f"{name}-predictor"] for name in ("flights-2", "flights-2-base")}
    assert of_both == {"flights-2": (2, 4, "8"), "flights-2-base": (2, 4, "8")}


def test_one_that_is_not_taken_is_said_where_pods_are_missed_and_holds_nothing_else_up() -> None:
    world = begin(own=True)
    world.refuses[SCALERS, "flights-2-in-flight"] = "horizontalpodautoscalers.autoscaling is forbidden"
    add_refused(world)
    status = world.status("flights-2")
    assert (status["phase"], status["reason"]) == ("Warming", "StartingPredictor")
    told = "1 of 2 pods are ready; its autoscaler is not taken: horizontalpodautoscalers.autoscaling is forbidden"
    assert status["message"] == told
    world.refuses.clear()
    world.now += 60.0
    settle(world)
    assert world.status("flights-2")["phase"] == "Live"


def add_refused(world: World) -> None:
    world.add_version("flights-2", B, runtime={"replicas": {"min": 2, "max": 4}}, rollout=IMMEDIATE)

    async def rounds() -> None:
        for _ in range(30):
            await world.round()
            world.apply_route()

    asyncio.run(rounds())


@pytest.mark.parametrize("calls", range(1, 25))
def test_an_operator_that_dies_at_any_call_leaves_what_the_next_one_ends(calls: int) -> None:
    world = World(policy=SCALED)
    world.add_version("flights-1", A, runtime={"replicas": {"min": 2, "max": 6}}, rollout=IMMEDIATE)
    left = calls
    for _ in range(40):
        before = world.calls
        asyncio.run(world.operate_and_die(left) if left > 0 else world.operate())
        left -= world.calls - before
        world.run_jobs()
        world.make_pods()
        world.apply_route()
    settle(world)
    assert world.status("flights-1")["phase"] == "Live"
    assert bounds(world) == {"flights-predictor": (2, 5, "32"), "flights-1-predictor": (2, 6, "8")}


def without_another(world: World) -> set[str]:
    """InferenceServices that say one thing of their autoscaler while another is so."""
    names = {name for name in world.services() if class_of(world, name) == "external"}
    return names ^ {name.removesuffix("-in-flight") for name in world.scalers()}


@pytest.mark.parametrize("calls", range(1, 25))
def test_switched_off_while_an_operator_is_killed_nothing_waits_for_an_autoscaler(calls: int) -> None:
    """The next one may not look for any."""
    world = World(policy=SCALED)
    world.add_version("flights-1", A, runtime={"replicas": {"min": 2, "max": 6}}, rollout=IMMEDIATE)
    left = calls
    while left > 0:
        before = world.calls
        asyncio.run(world.operate_and_die(left))
        left = left - (world.calls - before) if world.calls > before else 0
        world.run_jobs()
        world.make_pods()
        world.apply_route()
    world.policy = Policy()
    settle(world)
    assert world.status("flights-1")["phase"] == "Live"
    assert without_another(world) == set()


@pytest.mark.parametrize("calls", range(4))
def test_switched_off_while_an_autoscaler_goes_there_are_never_two_who_set_replicas(calls: int) -> None:
    world = begin(own=True)
    there = world.cluster.objects[MODEL_VERSIONS.plural, NAMESPACE, "flights-1"]
    world.cluster.put(MODEL_VERSIONS, {**there, "spec": {**there["spec"], "runtime": {"replicas": {"min": 3}}}})
    for call in range(calls):
        asyncio.run(world.operate_and_die(2))
        assert world.scalers() == {} or class_of(world, "flights-1") == "external", f"after call {call}"
    world.policy = Policy()
    settle(world)
    assert world.scalers() == {} or class_of(world, "flights-1") == "external"


def test_a_version_that_warms_up_while_it_is_switched_off_is_made_anew_and_what_it_had_goes() -> None:
    world = begin(own=True)
    world.refuses[SCALERS, "flights-2-in-flight"] = "horizontalpodautoscalers.autoscaling is forbidden"
    add_refused(world)
    assert (world.status("flights-2")["stage"], class_of(world, "flights-2")) == ("Warming", "external")
    world.policy = Policy()
    settle(world)
    assert (world.status("flights-2")["phase"], class_of(world, "flights-2")) == ("Live", None)
    assert class_of(world, "flights-1") == "external"


def test_what_an_autoscaler_measures_is_nothing_to_look_at() -> None:
    """It tells every 15 s, each of them."""
    heard: list[Object] = []
    cache = Cache(MemoryCluster(), SCALERS, None, "penstock.dev/model", heard.append, index="penstock.dev/model")
    labels = {"penstock.dev/model": MODEL}

    def tell(version: str, most: int, measured: str) -> None:
        metadata = {"namespace": NAMESPACE, "name": "x", "labels": labels, "resourceVersion": version, "managedFields": [version]}
        cache._put({"metadata": metadata, "spec": {"maxReplicas": most}, "status": {"currentMetrics": measured}})

    tell("1", 4, "3")
    tell("2", 4, "7")
    assert len(heard) == 1
    assert cache.objects[NAMESPACE, "x"]["metadata"]["resourceVersion"] == "2"
    tell("3", 5, "7")
    assert len(heard) == 2
    assert "status" not in cache.objects[NAMESPACE, "x"]

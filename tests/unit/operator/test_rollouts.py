"""Whole rollouts in memory: every strategy, every way back, and what the operator must not touch."""

import asyncio
from typing import Any

import pytest

from penstock_operator.cluster import CONFIG_MAPS, INFERENCE_SERVICES, PODS
from penstock_operator.route import route_name
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


A, B, C, OWN = map(digest, "abcd")
IMMEDIATE = {"rollout": {"strategy": "immediate"}}
MANUAL = {"rollout": {"strategy": "manual", "steps": [5, 50, 100]}}


def settle(world: World) -> None:
    asyncio.run(world.settle())


def live_with(*versions: tuple[str, str], own: str = "") -> World:
    world = World()
    if own:
        world.apply_service(own)
    for name, made_of in versions:
        world.add_version(name, made_of, **IMMEDIATE)
        settle(world)
        assert world.status(name)["phase"] == "Live", world.status(name)
    return world


def shown(world: World, name: str) -> tuple[Any, ...]:
    status = world.status(name)
    return status["phase"], status["weight"], status["reason"]


def condition(world: World, name: str, kind: str) -> tuple[str, str]:
    found = next(one for one in world.status(name)["conditions"] if one["type"] == kind)
    return found["status"], found["reason"]


def test_the_first_version_gets_a_transformer_and_all_requests() -> None:
    world = live_with(("flights-1", A))
    assert world.services() == {MODEL, "flights-1"}
    assert world.route() == {"flights-1": (100, None)}
    assert [condition(world, "flights-1", kind)[0] for kind in ("Verified", "Ready", "Acknowledged", "Live")] == ["True"] * 4


def test_the_next_version_takes_over_and_the_old_one_is_kept_and_then_retired() -> None:
    world = live_with(("flights-1", A), ("flights-2", B))
    assert world.route() == {"flights-1": (0, None), "flights-2": (100, None)}
    assert shown(world, "flights-1") == ("Retired", 0, "KeptForRollback")
    world.now += 3601
    settle(world)
    assert shown(world, "flights-1") == ("Retired", 0, "Replaced")
    assert world.route() == {"flights-2": (100, None)}
    assert world.services() == {MODEL, "flights-2"}


def test_a_manual_rollout_goes_as_far_as_it_is_promoted() -> None:
    world = live_with(("flights-1", A))
    world.add_version("flights-2", B, **MANUAL)
    settle(world)
    assert shown(world, "flights-2") == ("Canary", 0, "AwaitingPromotion")
    assert condition(world, "flights-2", "Acknowledged") == ("True", "Acknowledged")
    for promoted, weights in [("5", (95, 5)), ("60", (50, 50)), ("49", (50, 50))]:
        world.annotate("flights-2", promote=promoted)
        settle(world)
        assert [weight for weight, _ in world.route().values()] == list(weights)
    world.annotate("flights-2", promote="100")
    settle(world)
    assert shown(world, "flights-2")[:2] == ("Live", 100)


def test_a_promotion_that_cannot_be_read_is_named() -> None:
    world = live_with(("flights-1", A))
    world.add_version("flights-2", B, **MANUAL)
    world.annotate("flights-2", promote="all of it")
    settle(world)
    assert shown(world, "flights-2") == ("Canary", 0, "PromotionUnreadable")


def test_a_shadow_comes_first_where_it_is_asked_for() -> None:
    world = live_with(("flights-1", A))
    world.add_version("flights-2", B, rollout={"strategy": "manual", "shadow": {"fraction": 0.2}, "steps": [10, 100]})
    settle(world)
    assert shown(world, "flights-2")[0] == "Shadow"
    assert world.route() == {"flights-1": (100, None), "flights-2": (0, 0.2)}
    world.annotate("flights-2", promote="10")
    settle(world)
    assert world.route() == {"flights-1": (90, None), "flights-2": (10, None)}


def test_the_users_own_bundle_is_the_first_entry_and_stays() -> None:
    world = live_with(("flights-1", A), own=OWN)
    assert world.route() == {MODEL: (0, None), "flights-1": (100, None)}
    world.annotate("flights-1", rollback="too slow")
    settle(world)
    assert world.route() == {MODEL: (100, None)}
    assert shown(world, "flights-1") == ("RolledBack", 0, "RolledBack")
    assert world.status("flights-1")["message"] == "too slow"
    assert world.services() == {MODEL}


def test_the_users_own_bundle_may_change_under_a_route() -> None:
    world = live_with(("flights-1", A), own=OWN)
    world.own_digest = digest("e")
    settle(world)
    text = world.cluster.objects[CONFIG_MAPS.plural, NAMESPACE, route_name(MODEL)]["data"]["route.yaml"]
    assert digest("e") in text
    assert OWN not in text


def test_a_roll_back_goes_to_the_version_before() -> None:
    world = live_with(("flights-1", A), ("flights-2", B))
    world.annotate("flights-2", rollback="worse")
    settle(world)
    assert shown(world, "flights-1")[:2] == ("Live", 100)
    assert shown(world, "flights-2")[:2] == ("RolledBack", 0)
    assert world.services() == {MODEL, "flights-1"}


def test_a_roll_back_is_written_without_waiting_for_anybody() -> None:
    world = live_with(("flights-1", A), ("flights-2", B))
    for transformer in world.transformers.values():
        transformer.deaf = True
    world.annotate("flights-2", rollback="worse")
    asyncio.run(world.operate())
    assert world.route() == {"flights-1": (100, None)}
    assert "flights-2" in world.services()  # transformers may still send to it


def test_a_version_that_is_gone_is_warmed_up_again_for_a_roll_back() -> None:
    world = live_with(("flights-1", A), ("flights-2", B))
    world.now += 3601
    settle(world)
    assert world.services() == {MODEL, "flights-2"}
    world.annotate("flights-2", rollback="worse")
    asyncio.run(world.operate())
    assert world.route() == {"flights-2": (100, None)}
    settle(world)
    assert shown(world, "flights-1")[:2] == ("Live", 100)
    assert world.services() == {MODEL, "flights-1"}


def test_with_nothing_to_roll_back_to_it_goes_on_and_says_so() -> None:
    world = live_with(("flights-1", A))
    world.annotate("flights-1", rollback="worse")
    settle(world)
    assert shown(world, "flights-1") == ("Live", 100, "NothingToRollBackTo")
    assert world.route() == {"flights-1": (100, None)}


def test_paused_it_stays_where_it_is_and_goes_on_when_resumed() -> None:
    world = live_with(("flights-1", A))
    world.add_version("flights-2", B, **MANUAL)
    world.annotate("flights-2", promote="5")
    settle(world)
    world.annotate("flights-2", paused="true", **{"promote": "100"})
    settle(world)
    assert shown(world, "flights-2") == ("Paused", 5, "Paused")
    world.annotate("flights-2", paused=None)
    settle(world)
    assert shown(world, "flights-2")[:2] == ("Live", 100)


def test_a_newer_version_supersedes_once_it_is_verified() -> None:
    world = live_with(("flights-1", A))
    world.add_version("flights-2", B, **MANUAL)
    world.annotate("flights-2", promote="5")
    settle(world)
    world.add_version("flights-3", C, **IMMEDIATE)
    asyncio.run(world.operate())
    assert world.route()["flights-2"] == (5, None)
    settle(world)
    assert shown(world, "flights-2") == ("Retired", 0, "Superseded")
    assert shown(world, "flights-3")[:2] == ("Live", 100)
    assert world.services() == {MODEL, "flights-1", "flights-3"}


def test_a_newer_version_that_fails_supersedes_nothing() -> None:
    world = live_with(("flights-1", A))
    world.verdicts[C] = "golden"
    world.add_version("flights-2", B, **MANUAL)
    settle(world)
    world.add_version("flights-3", C, **IMMEDIATE)
    settle(world)
    assert shown(world, "flights-2")[0] == "Canary"
    assert shown(world, "flights-3") == ("Failed", 0, "GoldenExamplesFailed")


def test_a_newer_version_queues_where_it_is_asked_to() -> None:
    world = live_with(("flights-1", A))
    world.add_version("flights-2", B, rollout={"strategy": "manual", "onNewerVersion": "queue"})
    settle(world)
    world.add_version("flights-3", C, **IMMEDIATE)
    settle(world)
    assert shown(world, "flights-3") == ("Pending", 0, "Queued")
    world.annotate("flights-2", promote="100")
    settle(world)
    assert shown(world, "flights-3")[:2] == ("Live", 100)


@pytest.mark.parametrize(
    "found, reason",
    [
        ("digest", "DigestDiffers"), ("load", "LoadFailed"), ("golden", "GoldenExamplesFailed"), ("rows", "RowsNotIndependent"),
        ("memory", "OutOfMemory"), ("layout", "BundleUnreadable"), ("fetch", "BundleUnreachable"),
    ],
)  # fmt: skip
def test_a_bundle_that_fails_verification_is_never_routed_to(found: str, reason: str) -> None:
    world = live_with(("flights-1", A))
    world.verdicts[B] = found
    world.add_version("flights-2", B, **IMMEDIATE)
    settle(world)
    assert shown(world, "flights-2") == ("Failed", 0, reason)
    assert condition(world, "flights-2", "Verified") == ("False", reason)
    assert world.services() == {MODEL, "flights-1"}


def test_a_verification_without_a_verdict_is_run_again() -> None:
    world = World({A: "silent"})
    world.add_version("flights-1", A, **IMMEDIATE)
    settle(world)
    world.now += world.policy.verify_again_s
    settle(world)
    assert shown(world, "flights-1")[:2] == ("Live", 100)
    assert world.status("flights-1")["verifyAttempts"] == 1


def test_a_deleted_version_gives_its_requests_back_first() -> None:
    world = live_with(("flights-1", A), ("flights-2", B))
    asyncio.run(world.delete_version("flights-2"))
    asyncio.run(world.operate())
    assert world.status("flights-2")  # its finalizer holds it
    assert world.route() == {"flights-1": (100, None)}
    settle(world)
    assert not world.status("flights-2")
    assert shown(world, "flights-1")[:2] == ("Live", 100)


def test_the_last_version_takes_what_was_made_for_it() -> None:
    world = live_with(("flights-1", A))
    asyncio.run(world.delete_version("flights-1"))
    settle(world)
    assert {plural for plural, _, _ in world.cluster.objects} <= {"events"}


def test_a_route_that_was_broken_or_deleted_by_hand_comes_back() -> None:
    world = live_with(("flights-1", A), ("flights-2", B))
    wanted = world.route()
    key = (CONFIG_MAPS.plural, NAMESPACE, route_name(MODEL))
    for text in ("{", "[]", "revision: 99", "formatVersion: 1\nrevision: 1000\nmodel: flights\nbundles: []"):
        world.cluster.put(CONFIG_MAPS, {**world.cluster.objects[key], "data": {"route.yaml": text}})
        settle(world)
        assert world.route() == wanted
    world.remove(CONFIG_MAPS, NAMESPACE, route_name(MODEL))
    settle(world)
    assert world.route() == wanted
    assert min(transformer.revision for transformer in world.transformers.values()) > 1000


def test_a_predictor_deleted_by_hand_in_mid_rollout_starts_over() -> None:
    world = live_with(("flights-1", A))
    world.add_version("flights-2", B, **MANUAL)
    world.annotate("flights-2", promote="50")
    settle(world)
    world.remove(INFERENCE_SERVICES, NAMESPACE, "flights-2")
    asyncio.run(world.operate())
    asyncio.run(world.operate())
    assert world.route() == {"flights-1": (100, None)}
    settle(world)
    assert world.route() == {"flights-1": (50, None), "flights-2": (50, None)}


def test_a_predictor_edited_by_hand_is_set_back() -> None:
    world = live_with(("flights-1", A))
    key = (INFERENCE_SERVICES.plural, NAMESPACE, "flights-1")
    edited = {**world.cluster.objects[key], "spec": {"predictor": {"model": {"storageUri": "pvc://elsewhere"}}}}
    world.cluster.put(INFERENCE_SERVICES, edited)
    settle(world)
    assert world.cluster.objects[key]["spec"]["predictor"]["model"]["storageUri"] == "pvc://bundles/flights-1"


def test_an_inference_service_without_a_transformer_is_named() -> None:
    world = World()
    world.cluster.put(INFERENCE_SERVICES, {"metadata": {"name": MODEL, "namespace": NAMESPACE}, "spec": {"predictor": {}}})
    world.add_version("flights-1", A)
    settle(world)
    assert shown(world, "flights-1") == ("Pending", 0, "NoTransformer")


def test_while_a_transformer_is_behind_no_step_is_taken() -> None:
    world = live_with(("flights-1", A))
    world.add_version("flights-2", B, **IMMEDIATE)
    late = next(iter(world.transformers.values()))
    for _ in range(20):
        asyncio.run(world.operate())
        world.run_jobs(), world.make_pods()
        for transformer in world.transformers.values():
            if transformer is not late:
                world._read_route(transformer)
    assert world.route() == {"flights-1": (100, None), "flights-2": (0, None)}
    assert shown(world, "flights-2") == ("Warming", 0, "WaitingForTransformers")


def test_one_silent_pod_of_four_is_evicted_and_two_pause_the_rollout() -> None:
    world = live_with(("flights-1", A))
    for number in range(2):
        world.add_transformer(f"more-{number}")
    world.add_version("flights-2", B, **MANUAL)
    settle(world)
    silent = list(world.transformers)[:2]
    for uid in silent:
        world.transformers[uid].deaf = True
    asyncio.run(world.operate())
    world.now += 31
    asyncio.run(world.operate())
    asyncio.run(world.operate())
    assert set(silent) <= set(world.transformers)
    assert shown(world, "flights-2") == ("Paused", 0, "TransformersSilent")
    world.transformers[silent[1]].deaf = False
    asyncio.run(world.operate())
    pods = {document["metadata"]["uid"] for (plural, _, _), document in world.cluster.objects.items() if plural == PODS.plural}
    assert silent[0] not in pods


def test_two_versions_of_one_bundle_share_an_entry() -> None:
    world = live_with(("flights-1", A), ("flights-2", A))
    assert world.route() == {"flights-2": (100, None)}
    assert shown(world, "flights-2")[:2] == ("Live", 100)

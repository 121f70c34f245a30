"""Somebody else edits or deletes, in mid-rollout, what the operator works with: the InferenceService that callers reach is left
to its user, and a version's own is set back."""

import asyncio
from typing import Any

import pytest

from penstock_operator.cluster import INFERENCE_SERVICES
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

A, B, OWN = ("sha256:" + letter * 64 for letter in "abd")
HALF = {"strategy": "manual", "steps": [50, 100]}
SERVICE = (INFERENCE_SERVICES.plural, NAMESPACE, MODEL)


def settle(world: World) -> None:
    asyncio.run(world.settle())


def half_way(**rollout: Any) -> World:
    """The user's own bundle and a version with half of the requests."""
    world = World()
    world.apply_service(OWN)
    world.add_version("flights-1", A, rollout={**HALF, **rollout})
    world.annotate("flights-1", promote="50")
    settle(world)
    assert world.route() == {MODEL: (50, None), "flights-1": (50, None)}
    return world


def finish(world: World) -> None:
    world.annotate("flights-1", promote="100")
    settle(world)
    assert world.status("flights-1")["phase"] == "Live"
    assert world.route() == {MODEL: (0, None), "flights-1": (100, None)}


def test_the_users_own_may_be_edited_and_is_never_written_to() -> None:
    world = half_way()
    edited = {**world.cluster.objects[SERVICE], "spec": {"predictor": {"minReplicas": 7}, "transformer": {"containers": []}}}
    world.cluster.put(INFERENCE_SERVICES, edited)
    settle(world)
    assert world.cluster.objects[SERVICE]["spec"] == edited["spec"]
    finish(world)
    assert world.cluster.objects[SERVICE]["spec"] == edited["spec"]


def test_without_its_transformer_nothing_moves_and_that_is_said() -> None:
    world = half_way()
    edited = {**world.cluster.objects[SERVICE], "spec": {"predictor": {}, "transformer": None}}
    world.cluster.put(INFERENCE_SERVICES, edited)
    world.annotate("flights-1", rollback="asked for")
    settle(world)
    assert world.status("flights-1")["phase"] == "RolledBack"
    assert world.cluster.objects[SERVICE]["spec"] == edited["spec"]


def test_the_users_own_is_deleted_and_applied_again() -> None:
    """Its pods are gone, callers reach nobody: the condition says so, no step is taken, nothing is made in its place."""
    world = half_way()
    world.remove(INFERENCE_SERVICES, NAMESPACE, MODEL)
    settle(world)
    world.annotate("flights-1", promote="100")
    settle(world)
    status = world.status("flights-1")
    conditions = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
    assert conditions["Acknowledged"] == ("False", "NoTransformer")
    assert (status["phase"], status["weight"]) == ("Canary", 50)
    assert world.services() == {"flights-1"}
    world.apply_service(OWN)
    settle(world)
    finish(world)


def test_deleted_before_the_version_was_verified_it_is_missed_by_name() -> None:
    world = half_way()
    finish(world)
    world.add_version("flights-2", B, rollout=HALF)
    world.remove(INFERENCE_SERVICES, NAMESPACE, MODEL)
    settle(world)
    assert world.status("flights-2")["reason"] == "InferenceServiceMissing"
    world.apply_service(OWN)
    settle(world)
    assert world.status("flights-2")["reason"] == "AwaitingPromotion"


@pytest.mark.parametrize("label", ["penstock.dev/model", "penstock.dev/model-version"])
def test_a_versions_own_is_set_back_labels_too(label: str) -> None:
    world = half_way()
    key = (INFERENCE_SERVICES.plural, NAMESPACE, "flights-1")
    there = world.cluster.objects[key]
    changed = {**there, "metadata": {**there["metadata"], "labels": {**there["metadata"]["labels"], label: "another"}}}
    world.cluster.put(INFERENCE_SERVICES, changed)
    settle(world)
    assert world.cluster.objects[key]["metadata"]["labels"][label] == there["metadata"]["labels"][label]
    finish(world)

"""ModelVersions as the API server would give them, made of a few words."""

from collections.abc import Callable
from typing import Any

import pytest

from penstock_operator.model_version import ModelVersion, read_model_version
from penstock_operator.stage import Stage, phase_of


def made(name: str, stage: str = "", weight: int = 0, **given: Any) -> ModelVersion:
    """A version of the model `flights`. `given`: reason, message, annotations, rollout, generation, deleted …"""
    annotations = given.get("annotations", {})
    paused = annotations.get("penstock.dev/paused") == "true"
    status = {
        "phase": phase_of(Stage(stage), paused=paused) if stage else "",
        "stage": stage,
        "weight": weight,
        "reason": given.get("reason", stage),
        "message": given.get("message", ""),
        "stageSince": "2026-01-31T12:00:00.000Z",
        "liveSince": given.get("live_since", ""),
        "keptUntil": given.get("kept_until", ""),
        "observedGeneration": 1,
        "conditions": given.get("conditions", []),
    }
    metadata = {
        "namespace": given.get("namespace", "default"),
        "name": name,
        "uid": name,
        "generation": given.get("generation", 1),
        "creationTimestamp": "2026-01-31T11:00:00Z",
        "deletionTimestamp": given.get("deleted"),
        "annotations": annotations,
    }
    spec = {
        "inferenceService": given.get("model", "flights"),
        "bundle": {"uri": f"pvc://models/{name}", "digest": "sha256:" + "ab" * 32},
        "rollout": {"strategy": "manual", "steps": [5, 25, 50, 100]} | given.get("rollout", {}),
    }
    return read_model_version({"metadata": metadata, "spec": spec} | ({"status": status} if stage else {}))


@pytest.fixture
def version() -> Callable[..., ModelVersion]:
    return made

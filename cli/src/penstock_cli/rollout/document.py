"""A rollout as JSON, for scripts: names as in the ModelVersion, one form whatever is asked for."""

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock_cli.rollout.story import Story
from penstock_cli.rollout.words import headline
from penstock_operator.model_version import ROLLBACK, ModelVersion


def document_of(stories: Sequence[Story]) -> dict[str, Any]:
    """`{"models": [{"namespace", "model", "summary", "routeRevision", "candidate", "live", "ownWeight", "versions": […]}]}`,
    versions newest first."""
    return {"models": [_model(story) for story in stories]}


def _model(story: Story) -> dict[str, Any]:
    return {
        "namespace": story.namespace,
        "model": story.model,
        "summary": headline(story),
        "routeRevision": story.revision,
        "candidate": story.candidate.name if story.candidate else None,
        "live": story.live.name if story.live else None,
        "ownWeight": story.own_weight,
        "versions": [_version(version) for version in story.versions],
    }


def _version(version: ModelVersion) -> dict[str, Any]:
    status = version.status
    return {
        "name": version.name,
        "phase": status.phase,
        "stage": status.stage,
        "weight": status.weight,
        "reason": status.reason,
        "message": status.message,
        "uri": version.spec.bundle.uri,
        "digest": version.spec.bundle.digest,
        "strategy": version.spec.rollout.strategy,
        "steps": list(version.spec.rollout.steps),
        "paused": version.is_paused,
        "promotedTo": version.promoted_to,
        "rollback": version.annotations.get(ROLLBACK),
        "deleting": bool(version.deleted),
        "created": version.created or None,
        "stageSince": status.stage_since or None,
        "liveSince": status.live_since or None,
        "keptUntil": status.kept_until or None,
        "routeRevision": status.route_revision,
        "observed": status.observed_generation >= version.generation,
        "conditions": msgspec.to_builtins(status.conditions),
        "verification": msgspec.to_builtins(status.verification),
    }

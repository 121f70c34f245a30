"""`GET /evidence` of the admin port: what the operator reads of every pod to decide rollouts."""

from typing import Any

import msgspec

from penstock.serving.admin import AdminRoutes
from penstock_transformer.evidence.recorder import Recorder


def add_evidence(recorder: Recorder, model: str, routes: AdminRoutes) -> None:
    """Tell the evidence on the admin port, with `?features=false` without their histograms, which are most of its bytes. Of
    several processes each is told apart: they begin and end by themselves, and only who reads them twice can tell what came
    between."""

    async def told(given: dict[str, Any]) -> Any:
        return msgspec.to_builtins(recorder.evidence(model, with_features=given.get("features") != "false"))

    routes.add("GET", "/evidence", told, merge=joined, summary="What requests did to each bundle of the route")


def joined(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer of a program with several processes."""
    return {**answers[0], "processes": [process for answer in answers for process in answer["processes"]]}

"""`GET /evidence` of the admin port: what the operator reads of every pod to decide rollouts."""

from collections.abc import Callable
from typing import Any

import msgspec

from penstock.serving.admin import AdminRoutes
from penstock_transformer.evidence.recorder import Recorder
from penstock_transformer.route.status import merged


def add_evidence(recorder: Recorder, model: str, routes: AdminRoutes, route: Callable[[], dict[str, Any]]) -> None:
    """Tell the evidence on the admin port, with `?features=false` without their histograms, which are most of its bytes, and what
    `route` says of the route. Of several processes each is told apart: they begin and end by themselves, and only who reads them
    twice can tell what came between."""

    async def told(given: dict[str, Any]) -> Any:
        evidence = recorder.evidence(model, with_features=given.get("features") != "false")
        evidence.route = route()
        return msgspec.to_builtins(evidence)

    routes.add("GET", "/evidence", told, merge=joined, summary="What requests did to each bundle of the route")


def joined(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer of a program with several processes."""
    processes = [process for answer in answers for process in answer["processes"]]
    return {**answers[0], "processes": processes, "route": merged([answer["route"] for answer in answers])}

"""Loading and unloading models while serving, on the admin port.

A model is loaded beside the one that serves, tried and measured, and takes its place between two requests; the old one answers
what it has taken before its memory goes. So a load that fails changes nothing, and no request meets a model half gone.

Paths follow the Open Inference Protocol's model repository extension.
"""

import asyncio
from typing import Any

from penstock.errors import NotFound
from penstock.serving.admin import AdminRoutes
from penstock_predictor.loading import load_model
from penstock_predictor.predictor import Predictor
from penstock_predictor.repository import find
from penstock_predictor.settings import PredictorSettings


def repository_routes(predictor: Predictor, settings: PredictorSettings) -> AdminRoutes:
    """The admin routes of a predictor: index, load, unload."""
    # One load at a time: two would measure each other.
    busy = asyncio.Lock()

    async def index(_: dict[str, Any]) -> dict[str, Any]:
        here = {(entry["name"], entry["version"]): entry for entry in predictor.index()}
        found = [(place.model, place.version) for place in await asyncio.to_thread(find, settings.model_dir, settings.model_name)]
        names = {name for name, _ in here}
        absent = [{"name": n, "version": v or "", "state": "UNAVAILABLE", "bundle": ""} for n, v in found if n not in names]
        return {"models": [*here.values(), *absent]}

    async def load(arguments: dict[str, Any]) -> dict[str, Any]:
        async with busy:
            places = await asyncio.to_thread(find, settings.model_dir, settings.model_name)
            wanted = [place for place in places if place.model == arguments["model"]]
            if not wanted:
                raise NotFound(f"{settings.model_dir} holds no model {arguments['model']!r}")
            models = [await asyncio.to_thread(load_model, place, settings) for place in wanted]
            predictor.replace(arguments["model"], models)
        return {"name": arguments["model"], "versions": [model.version for model in models]}

    async def unload(arguments: dict[str, Any]) -> dict[str, Any]:
        async with busy:
            predictor.remove(arguments["model"])
        return {"name": arguments["model"]}

    routes = AdminRoutes()
    routes.add("POST", "/v2/repository/index", index, summary="Models that are here and models that could be loaded")
    routes.add("POST", "/v2/repository/models/{model}/load", load, summary="Load a model anew from its directory")
    routes.add("POST", "/v2/repository/models/{model}/unload", unload, summary="Serve a model no longer")
    return routes

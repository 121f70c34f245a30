"""The model repository over HTTP: on the admin port always, on the serving port for those who open it there.

    admin port ----------------> parent (or the lone process) --+--> every worker's ModelRepository
    serving port, a worker --> EveryWorker --ask the parent ----+

Paths and bodies are those of the Open Inference Protocol's model repository extension, as Triton and KServe have it.

Invariant: whichever way a call comes, it reaches every worker, and its answer speaks for all of them.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request, Response

from penstock.errors import InvalidInput
from penstock.repository import Entry, ModelRepository
from penstock.serving.admin import AdminRoutes
from penstock.serving.asgi import plain_response, read_members

_INDEX = "/v2/repository/index"
_MODEL = "/v2/repository/models/{model}"
_VERSION = f"{_MODEL}/versions/{{version}}"
_BODY_BYTES = 1024 * 1024
_PARAMETERS = {"parameters": {"type": "object", "additionalProperties": True}}
# A load verifies, measures and may build an engine: minutes, not seconds.
_LOAD_S = 1800.0


class EveryWorker:
    """A `ModelRepository` that speaks for all workers of a program; `state` is the application's, which holds the link to the
    parent where there is one."""

    def __init__(self, local: ModelRepository, state: Any) -> None:
        self._local = local
        self._state = state

    async def index(self, ready_only: bool = False) -> list[Entry]:
        if self._link is None:
            return await self._local.index(ready_only)
        found: list[Entry] = await self._ask(_INDEX, {"ready": ready_only})
        return found

    async def load(self, model: str, version: str | None = None, parameters: Mapping[str, Any] | None = None) -> None:
        if self._link is None:
            await self._local.load(model, version, parameters)
        else:
            await self._ask(f"{_path(model, version)}/load", {"parameters": dict(parameters or {})})

    async def unload(self, model: str, version: str | None = None) -> None:
        if self._link is None:
            await self._local.unload(model, version)
        else:
            await self._ask(f"{_path(model, version)}/unload", {})

    @property
    def _link(self) -> Any:
        return getattr(self._state, "worker_link", None)

    async def _ask(self, path: str, arguments: dict[str, Any]) -> Any:
        return await self._link.ask("admin", {"method": "POST", "path": path, "arguments": arguments}, timeout_s=_LOAD_S)


def add_repository(routes: AdminRoutes, repository: ModelRepository) -> None:
    """The admin routes of one process's repository; `repository` is its own, not that of all workers."""

    async def index(arguments: dict[str, Any]) -> list[Entry]:
        return await repository.index(_ready(arguments))

    async def load(arguments: dict[str, Any]) -> dict[str, Any]:
        await repository.load(arguments["model"], arguments.get("version"), _parameters(arguments))
        return {"name": arguments["model"], "load": True}

    async def unload(arguments: dict[str, Any]) -> dict[str, Any]:
        await repository.unload(arguments["model"], arguments.get("version"))
        return {"name": arguments["model"], "unload": True}

    routes.add("POST", _INDEX, index, merge=_merged_index, summary="Models that serve, and those that could")
    for path in (_MODEL, _VERSION):
        routes.add("POST", f"{path}/load", load, summary="Load a model anew from the repository")
        routes.add("POST", f"{path}/unload", unload, summary="Serve a model no longer")


def repository_router(repository: ModelRepository) -> APIRouter:
    """The same calls as routes of the serving port's application; `repository` speaks for all workers."""
    router = APIRouter()

    @router.post(_INDEX, summary="Models that serve, and those that could", openapi_extra=_body({"ready": {"type": "boolean"}}))
    async def index(request: Request) -> Response:
        return _json(await repository.index(_ready(await read_members(request, _BODY_BYTES))))

    async def load(request: Request, model: str, version: str | None = None) -> Response:
        await repository.load(model, version, _parameters(await read_members(request, _BODY_BYTES)))
        return _json({"name": model, "load": True})

    async def unload(model: str, version: str | None = None) -> Response:
        await repository.unload(model, version)
        return _json({"name": model, "unload": True})

    told: dict[str, Any] = {"methods": ["POST"], "openapi_extra": _body(_PARAMETERS)}
    for path in (_MODEL, _VERSION):
        router.add_api_route(f"{path}/load", load, summary="Load a model anew from the repository", **told)
        router.add_api_route(f"{path}/unload", unload, summary="Serve a model no longer", **told)
    return router


def _body(properties: dict[str, Any]) -> dict[str, Any]:
    """A body that may be left out, as OpenAPI has it."""
    schema = {"type": "object", "properties": properties}
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}


def _path(model: str, version: str | None) -> str:
    path = f"/v2/repository/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def _ready(members: Mapping[str, Any]) -> bool:
    ready = members.get("ready", False)
    if not isinstance(ready, bool):
        raise InvalidInput("expected true or false", field="ready")
    return ready


def _parameters(members: Mapping[str, Any]) -> dict[str, Any] | None:
    parameters = members.get("parameters")
    if not isinstance(parameters, dict | None):
        raise InvalidInput("expected an object", field="parameters")
    return parameters


def _merged_index(answers: list[list[Entry]]) -> list[Entry]:
    """A version is ready where every worker has it ready; else it is what the worker says that is furthest from it."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in (entry for answer in answers for entry in answer):
        key = (entry["name"], entry["version"])
        if key not in found or found[key]["state"] == "READY":
            found[key] = entry
    return list(found.values())


def _json(document: Any) -> Response:
    return plain_response(200, orjson.dumps(document), b"application/json", b"")

"""The admin port: what operators and the platform ask of a process, never on a Service.

Members register routes. Each is answered inside every worker, and the answers are merged into one, so that a program with
several workers looks like one process: a load is fanned out, a route revision is the lowest, evidence is added up.

    admin request --> one process: the route's handler
                  \\-> parent: "admin" to every worker --> "merge" to one of them --> the answer
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson
from fastapi import FastAPI, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from penstock.errors import NotFound, PenstockError
from penstock.serving.asgi import plain_response, read_members
from penstock.serving.status import error_response

Handler = Callable[[dict[str, Any]], Awaitable[Any]]
Merge = Callable[[list[Any]], Any]

_BODY_BYTES = 4 * 1024 * 1024


def first(answers: list[Any]) -> Any:
    """The merge for answers that are the same in every worker."""
    return answers[0]


@dataclass(frozen=True)
class AdminRoute:
    """`handler` gets the path's parameters, the query's and the JSON body's members as one dict, and answers a JSON-ready value;
    it raises PenstockErrors. `merge` makes one answer of the workers' (at least one)."""

    method: str
    path: str
    handler: Handler
    merge: Merge = first
    summary: str = ""


class AdminRoutes:
    """The admin routes of a process, in the order they were added."""

    def __init__(self) -> None:
        self.routes: list[AdminRoute] = []

    def add(self, method: str, path: str, handler: Handler, *, merge: Merge = first, summary: str = "") -> None:
        self.routes.append(AdminRoute(method, path, handler, merge, summary))

    async def answer(self, question: dict[str, Any]) -> Any:
        """This process's answer to `{"method", "path", "arguments"}`. Raises NotFound for a path without a route."""
        route, parameters = self._find(question["method"], question["path"])
        return await route.handler({**question["arguments"], **parameters})

    def merged(self, question: dict[str, Any], answers: list[Any]) -> Any:
        """One answer out of those of all workers to the same question."""
        route, _ = self._find(question["method"], question["path"])
        return route.merge(answers)

    def listing(self) -> list[dict[str, str]]:
        return [{"method": route.method, "path": route.path, "summary": route.summary} for route in self.routes]

    def _find(self, method: str, path: str) -> tuple[AdminRoute, dict[str, str]]:
        for route in self.routes:
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(route.path))
            match = re.fullmatch(pattern, path)
            if match is not None and route.method == method:
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        known = ", ".join(f"{route.method} {route.path}" for route in self.routes) or "none"
        raise NotFound(f"no admin route {method} {path}; there are: {known}")


@dataclass(frozen=True)
class AdminSource:
    """What the admin application asks: this process, or a parent that asks its workers."""

    ask: Handler
    metrics: Callable[[], Awaitable[bytes]]
    status: Callable[[], Awaitable[dict[str, Any]]]


def build_admin(source: AdminSource) -> FastAPI:
    """The admin port's application."""
    app = FastAPI(title="Penstock admin", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(await source.metrics(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    async def healthz() -> Response:
        return plain_response(200, b'{"status":"alive"}', b"application/json", b"")

    @app.get("/readyz")
    async def readyz() -> Response:
        """For probes, which have no certificate where the serving port asks for one."""
        status = await source.status()
        body = orjson.dumps({"ready": status["ready"], "reasons": status["reasons"]})
        return plain_response(200 if status["ready"] else 503, body, b"application/json", b"")

    @app.get("/status")
    async def status() -> Response:
        return plain_response(200, orjson.dumps(await source.status(), default=str), b"application/json", b"")

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
    async def any_route(request: Request) -> Response:
        path = request.scope.get("raw_path", b"")
        try:
            arguments = {**request.query_params, **await read_members(request, _BODY_BYTES)}
            question = {"method": request.method, "path": path.decode("latin-1"), "arguments": arguments}
            answer = await source.ask(question)
        except PenstockError as error:
            return plain_response(*error_response(error, path))
        return plain_response(200, orjson.dumps(answer, default=str), b"application/json", b"")

    return app

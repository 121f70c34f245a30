"""The FastAPI application over a DataPlane: everything that is not a hot route, and the hot routes in their unusual forms.

Errors have one form a path, whoever found them (a handler, the router, FastAPI's validation): `{"error": …}` under /v1 and /v2,
problem+json elsewhere; never a stack trace.
"""

from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from penstock import __version__
from penstock.dataplane import DataPlane
from penstock.errors import InvalidInput, NotFound, PenstockError
from penstock.lifecycle import Lifecycle, State
from penstock.metrics import Metrics
from penstock.protocol.limits import Limits
from penstock.protocol.metadata import model_metadata, server_metadata
from penstock.serving.asgi import hot_endpoint, plain_response
from penstock.serving.docs import docs_page
from penstock.serving.docs_document import document
from penstock.serving.early import EarlyRefusals
from penstock.serving.exposition import exposition
from penstock.serving.framing import Framing
from penstock.serving.infer import infer_routes
from penstock.serving.readiness import reasons_of
from penstock.serving.routes import HotRoutes
from penstock.serving.shell import Shell, ShellLimits
from penstock.serving.status import error_response, status_response
from penstock.serving.triton import add_triton_routes
from penstock.serving.websocket.stream import Streams


class _NoVerb(StringConvertor):
    """A model's name in a path of KServe's v1, where `name:predict` is another path."""

    regex = "[^/:]+"


register_url_convertor("no_verb", _NoVerb())


class _Rest(StringConvertor):
    """All that follows in the decoded path, slashes and line ends with it."""

    regex = r"[\s\S]+"


register_url_convertor("rest", _Rest())


def build_app(
    plane: DataPlane,
    *,
    lifecycle: Lifecycle,
    metrics: Metrics,
    limits: Limits | None = None,
    routes: HotRoutes | None = None,
    shell_limits: ShellLimits | None = None,
    title: str = "Penstock",
    description: str = "",
) -> FastAPI:
    """The application; `app.state.shell` is what the server needs beside it, its `routes` the table of hot routes.

    `routes` are a member's own hot routes; they come before the protocol's, so that a member may answer one of those itself.
    """
    limits = limits or Limits()
    table = HotRoutes()
    if routes is not None:
        table.extend(routes)
    table.extend(infer_routes(plane, limits))
    shell_limits = shell_limits or ShellLimits(body_bytes=limits.body_bytes)
    app = FastAPI(title=title, description=description, version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.shell = Shell(table, lifecycle, metrics, shell_limits)
    app.state.shell.early = EarlyRefusals.of(plane)
    app.state.plane = plane
    app.state.streams = Streams(plane, app.state.shell, limits)
    _mount_hot_routes(app, table)
    add_triton_routes(app, plane, metrics)
    _add_server(app, plane, lifecycle)
    _add_models(app, plane, lifecycle, metrics)
    _add_v1(app, plane)
    _add_operations(app, lifecycle, metrics)
    _add_errors(app)
    app.add_middleware(Framing, shell=app.state.shell)
    return app


def _mount_hot_routes(app: FastAPI, table: HotRoutes) -> None:
    mounted: set[tuple[str, str]] = set()
    for route in table.routes:
        if (route.method, route.template) in mounted:  # as in the table: the first is taken, and it alone is documented
            continue
        mounted.add((route.method, route.template))
        app.add_api_route(
            route.mounted,
            hot_endpoint(route.handler, route.names, route.streamed),
            methods=[route.method],
            summary=route.summary or None,
            openapi_extra=route.documentation(),
            response_class=Response,
        )


def _add_server(app: FastAPI, plane: DataPlane, lifecycle: Lifecycle) -> None:
    @app.get("/", summary="Is the process alive? (KServe v1)")
    async def alive() -> Response:
        return _json({"status": "alive"})

    @app.get("/v2", summary="Server metadata")
    async def server() -> Response:
        return _json(server_metadata())

    @app.get("/v2/health/live", summary="Is the process alive?")
    async def live() -> Response:
        return _json({"live": True})

    @app.get("/v2/health/ready", summary="Would requests be answered now?")
    async def ready() -> Response:
        fine = lifecycle.ready and plane.ready()
        return _json({"ready": fine}, 200 if fine else 503)


def _add_models(app: FastAPI, plane: DataPlane, lifecycle: Lifecycle, metrics: Metrics) -> None:
    @app.get("/v2/models/{model}", summary="A model's metadata")
    async def model(model: str) -> Response:
        return await _metadata(model, None)

    @app.get("/v2/models/{model}/versions/{version}", summary="A version's metadata")
    async def model_version(model: str, version: str) -> Response:
        return await _metadata(model, version)

    @app.get("/v2/models/{model}/ready", summary="Is the model ready?")
    async def model_ready(model: str) -> Response:
        return _ready(model, None)

    @app.get("/v2/models/{model}/versions/{version}/ready", summary="Is the version ready?")
    async def version_ready(model: str, version: str) -> Response:
        return _ready(model, version)

    @app.get("/v2/models/{model}/bundle/{file:path}", summary="One of the small files of the model's bundle")
    async def bundle_file(model: str, file: str) -> Response:
        content = await plane.bundle_file(model, file)
        metadata = await plane.metadata(model)
        return plain_response(200, content, b"application/octet-stream", metrics.model(model, metadata.bundle).header)

    @app.get("/v2/models/{model}/stream", summary="A WebSocket of infer requests")
    @app.get("/v2/models/{model}/versions/{version}/stream", include_in_schema=False)
    async def stream(request: Request, model: str) -> Response:  # noqa: ARG001 - the document names it
        body, content_type = status_response(426, "expected a WebSocket handshake", _path(request))
        return plain_response(426, body, content_type, b"upgrade: websocket\r\n")

    async def _metadata(model: str, version: str | None) -> Response:
        metadata = await plane.metadata(model, version)
        return plain_response(
            200, orjson.dumps(model_metadata(metadata)), b"application/json", metrics.model(model, metadata.bundle).header
        )

    def _ready(model: str, version: str | None) -> Response:
        fine = plane.ready(model, version) and lifecycle.state is State.READY
        return _json({"name": model, "ready": fine}, 200 if fine else 503)


def _add_v1(app: FastAPI, plane: DataPlane) -> None:
    @app.get("/v1/models", summary="Names of the models")
    async def v1_models() -> Response:
        return _json({"models": list(plane.models())})

    @app.get("/v1/models/{model:no_verb}", summary="Is the model ready? (KServe v1)")
    async def v1_model(model: str) -> Response:
        fine = plane.ready(model)
        return _json({"name": model, "ready": fine}, 200 if fine else 503)


def _add_operations(app: FastAPI, lifecycle: Lifecycle, metrics: Metrics) -> None:
    @app.get("/healthz", summary="Is the process alive?")
    async def healthz() -> Response:
        return _json({"status": "alive", "state": lifecycle.state.value})

    @app.get("/readyz", summary="Is the process ready, and if not, why?")
    async def readyz() -> Response:
        reasons = reasons_of(lifecycle, app.state.plane)
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    @app.get("/metrics", summary="Prometheus metrics")
    async def scrape() -> Response:
        return Response(await exposition(app.state, metrics), media_type=CONTENT_TYPE_LATEST)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return _json(await document(app))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(docs_page(app.title), media_type="text/html; charset=utf-8")


def _add_errors(app: FastAPI) -> None:
    async def on_penstock_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, PenstockError)
        return plain_response(*error_response(error, _path(request)))

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = _path(request)
        text = path.decode("latin-1")
        if error.status_code == 404:
            return plain_response(*error_response(NotFound(f"nothing is at {text[:200]}; /docs lists the paths"), path))
        message = str(error.detail)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            # The framework names the methods of the first route of the path alone.
            methods = sorted(_methods(request))
            headers["Allow"] = ", ".join(methods)
            message = f"{request.method} is not for {text[:200]}; expected {' or '.join(m for m in methods if m != 'HEAD')}"
        body, content_type = status_response(error.status_code, message, path)
        lines = b"".join(f"{name.lower()}: {value}\r\n".encode("latin-1") for name, value in headers.items())
        return plain_response(error.status_code, body, content_type, lines)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first: dict[str, Any] = next(iter(error.errors()), {"loc": (), "msg": "invalid"})
        where = ".".join(str(part) for part in first["loc"])
        return plain_response(*error_response(InvalidInput(str(first["msg"]), field=where), _path(request)))

    async def on_nobody(_request: Request, _error: Exception) -> Response:
        # The caller left while its body was read: no fault of ours, and nobody to tell.
        return Response(status_code=499)

    app.add_exception_handler(PenstockError, on_penstock_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(ClientDisconnect, on_nobody)


def _methods(request: Request) -> set[str]:
    """Every method that the request's path takes."""
    found = {
        method
        for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    }
    return found | {"HEAD"} if "GET" in found else found


def _path(request: Request) -> bytes:
    found: bytes = request.scope.get("raw_path") or request.scope["path"].encode("utf-8", "replace")
    return found


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return plain_response(status, orjson.dumps(document), b"application/json", b"")

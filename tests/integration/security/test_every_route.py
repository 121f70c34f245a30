"""Every route of every port, walked: without credentials only health and metrics answer, whatever form the request has."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.serving.app import build_app
from penstock.serving.options import ServingSettings
from penstock.serving.process import Service, http_server
from penstock.serving.repository import repository_router
from penstock.serving.routes import HotRoute, HotRoutes
from penstock.serving.security.needs import OPEN_PATHS, UNKNOWN, need_of, need_of_hot
from penstock.testing.plane import EchoPlane
from penstock_predictor.__main__ import build as build_predictor
from penstock_predictor.settings import PredictorSettings
from penstock_predictor.source import open_source
from penstock_transformer.__main__ import build as build_transformer
from penstock_transformer.broker.port import Retriable
from penstock_transformer.http.records import records_router
from penstock_transformer.predictions.http.adding import PredictionsHttp
from penstock_transformer.predictions.settings import MEMORY, PredictionsSettings
from penstock_transformer.queues.console import console_router
from penstock_transformer.queues.desk import Desk
from penstock_transformer.queues.http import queues_router
from penstock_transformer.queues.looking import Looker
from penstock_transformer.queues.monitor import QueueMonitor
from penstock_transformer.settings import TransformerSettings
from penstock_transformer.worker.asyncapi import asyncapi_router

Send = Callable[[str], Awaitable[int]]


class OneModel(EchoPlane):
    """An echo plane that a transformer's routes can be made over; it has no features and no store."""

    def plan(self, _model: str) -> None: ...

    def store(self, _model: str) -> None: ...

    def predict(self, request: Any, reply: Any) -> None:
        raise AssertionError("reached without being admitted")


def everything(settings: ServingSettings) -> Service:
    """All routes that any of our programs has, behind one port."""
    plane: Any = OneModel()
    lifecycle, metrics = Lifecycle(), Metrics()
    predictions = PredictionsHttp(PredictionsSettings(database=MEMORY), plane, {}, lifecycle)
    app = build_app(plane, lifecycle=lifecycle, metrics=metrics, routes=predictions.routes, shell_limits=settings.shell_limits())
    app.include_router(records_router(plane))
    predictions.mount(app)
    app.include_router(repository_router(Repository()))
    monitor = QueueMonitor(lifecycle, looker=Looker("echo", "g", NoBroker()))
    app.include_router(queues_router(monitor, Desk("echo", NoBroker())))
    app.include_router(console_router())
    app.include_router(asyncapi_router(plane, "echo"))
    return Service(app, lifecycle, metrics)


class NoBroker:
    """A broker that is away."""

    def admin(self) -> Any:
        raise Retriable("away")

    reader = glance = admin

    def outlet(self, _: str) -> Any:
        raise Retriable("away")


class Repository:
    async def index(self, ready_only: bool = False) -> list[dict[str, Any]]:
        return []

    async def load(self, *_: Any) -> None: ...

    async def unload(self, *_: Any) -> None: ...


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path, parameters filled in, of every route, the included ones' too."""
    waiting: list[Any] = list(app.routes)
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        if inner:
            waiting.extend(inner)
            continue
        for method in route.methods:
            yield method, re.sub(r"\{(\w+)(:\w+)?\}", lambda m: "echo" if m[1] == "model" else "x", route.path)


def forms(method: str, path: str) -> Iterator[str]:
    """A request in every form that takes another way through the server."""
    encoded = re.sub(r"([a-z])(?=[^a-z]*$)", lambda m: f"%{ord(m[1]):02x}", path, count=1)
    for target in dict.fromkeys((path, f"{path}?model=echo", encoded)):
        head = f"{method} {target} HTTP/1.1\r\nhost: test\r\n"
        yield f"{head}content-length: 0\r\n\r\n"
        yield f"{head}content-length: 2\r\n\r\n{{}}"
        yield f"{head}\r\n"
        yield f"{head}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        yield f"{head}expect: 100-continue\r\ncontent-length: 2\r\n\r\n{{}}"
        yield f"{head}connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 0\r\n\r\n"
        yield f"{head}x-twice: 1\r\nx-twice: 2\r\ncontent-length: 0\r\n\r\n"
        yield f"{head.replace('HTTP/1.1', 'HTTP/1.0')}content-length: 0\r\n\r\n"


def serving(settings: ServingSettings, body: Callable[[FastAPI, Send], Awaitable[None]]) -> None:
    async def whole() -> None:
        service = everything(settings)
        server = http_server(service, settings)
        sock = socket.create_server(("127.0.0.1", 0))
        task = asyncio.create_task(server.serve([sock]))
        await service.lifecycle.start()
        port = sock.getsockname()[1]

        async def send(request: str) -> int:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request.encode("latin-1"))
            line = await reader.readline()
            while line.startswith(b"HTTP/1.1 100"):
                await reader.readline()
                line = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return int(line.split()[1])

        try:
            await body(service.app, send)
        finally:
            server.should_exit = True
            await task

    asyncio.run(whole())


def test_without_credentials_only_health_and_metrics_answer(keys: Any) -> None:
    async def body(app: FastAPI, send: Send) -> None:
        walked = 0
        for method, path in routes_of(app):
            for request in forms(method, path):
                status = await send(request)
                walked += 1
                if path in OPEN_PATHS:
                    assert status in (200, 503), request
                else:
                    assert status == 401, request
        assert walked > 300

    serving(ServingSettings(api_keys=keys.path), body)


def test_a_caller_of_another_model_is_forbidden_everywhere(keys: Any) -> None:
    async def body(app: FastAPI, send: Send) -> None:
        line = f"authorization: Bearer {keys.by_name['other']}\r\nhost"
        for method, path in routes_of(app):
            if path in OPEN_PATHS:
                continue
            request = f"{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n".replace("host", line, 1)
            assert await send(request) == 403, request

    serving(ServingSettings(api_keys=keys.path), body)


def test_whoever_may_do_everything_is_let_through_everywhere(keys: Any) -> None:
    async def body(app: FastAPI, send: Send) -> None:
        line = f"authorization: Bearer {keys.by_name['root']}\r\nhost"
        for method, path in routes_of(app):
            request = f"{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n".replace("host", line, 1)
            assert await send(request) not in (401, 403), request

    serving(ServingSettings(api_keys=keys.path), body)


def test_somebody_has_decided_what_every_route_of_every_program_needs(tmp_path: Path) -> None:
    predictor = PredictorSettings(model_name="echo", model_dir=str(tmp_path), repository_api=True)
    programs = [
        everything(ServingSettings()).app,
        build_transformer(
            TransformerSettings(model_name="echo", predictor_host="localhost", database=MEMORY, kafka_bootstrap="localhost:1")
        ).app,
        build_predictor(predictor, open_source(str(tmp_path), "echo", tmp_path / "cache")).app,
    ]
    walked = [set(routes_of(app)) for app in programs]
    undecided = [(m, p) for routes in walked for m, p in routes if p not in OPEN_PATHS and need_of(m, p) is UNKNOWN]
    assert undecided == []
    # What the tests above walk is all that there is.
    assert walked[1] | walked[2] <= walked[0]


def test_no_hot_route_is_told_apart_by_its_method_alone() -> None:
    hot: list[HotRoute] = everything(ServingSettings()).app.state.shell.routes.routes
    assert isinstance(HotRoutes(hot), HotRoutes)
    for route in hot:
        path = re.sub(r"\{\w+\}", "x", route.template)
        assert need_of_hot(path.encode()) == need_of(route.method, path) != UNKNOWN


@pytest.mark.parametrize("name, status", [("root", 200), ("echo", 403), ("reader", 403), (None, 401)])
def test_loading_on_the_serving_port_needs_scope_admin(keys: Any, name: str | None, status: int) -> None:
    async def body(_: FastAPI, send: Send) -> None:
        line = "" if name is None else f"authorization: Bearer {keys.by_name[name]}\r\n"
        for path in ("index", "models/echo/load", "models/echo/versions/1/unload"):
            request = f"POST /v2/repository/{path} HTTP/1.1\r\nhost: test\r\n{line}content-length: 0\r\n\r\n"
            assert await send(request) == status

    serving(ServingSettings(api_keys=keys.path), body)

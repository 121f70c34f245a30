"""The fast protocol without a network: a transport that keeps what is written, and an application over the in-memory plane."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from uvicorn.server import ServerState

from penstock.errors import InvalidInput
from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.serving.app import build_app
from penstock.serving.exchange import Exchange
from penstock.serving.fast import FastProtocol
from penstock.serving.options import ServingSettings
from penstock.serving.process import Service, http_server
from penstock.serving.routes import HotRoute, HotRoutes
from penstock.serving.shell import Shell, ShellLimits
from penstock.testing.memory_transport import MemoryTransport
from penstock.testing.plane import EchoPlane


@dataclass
class Bench:
    """A shell with one handler at `POST /hold/{what}` that keeps its exchanges, and one at `POST /now/{what}` that answers."""

    shell: Shell
    plane: EchoPlane
    service: Service
    config: Any
    state: ServerState = field(default_factory=ServerState)
    held: list[Exchange] = field(default_factory=list)

    def connect(self) -> tuple[FastProtocol, MemoryTransport]:
        protocol = FastProtocol(self.config, self.state, {})
        transport = MemoryTransport()
        protocol.connection_made(transport)  # type: ignore[arg-type]
        return protocol, transport


async def make_bench(limits: ShellLimits) -> Bench:
    held: list[Exchange] = []

    def now(exchange: Exchange) -> None:
        (what,) = exchange.params
        if what == "wrong":
            raise InvalidInput("asked to fail", field="what")
        if what == "fault":
            raise RuntimeError("secret detail")
        exchange.answer(200, exchange.body or what.encode(), b"text/plain")

    routes = HotRoutes(
        [HotRoute("POST", "/hold/{what}", held.append), HotRoute("POST", "/now/{what}", now), HotRoute("GET", "/now/{what}", now)]
    )
    lifecycle, metrics, plane = Lifecycle(), Metrics(), EchoPlane()
    app = build_app(plane, lifecycle=lifecycle, metrics=metrics, routes=routes, shell_limits=limits)
    service = Service(app, lifecycle, metrics)
    config = http_server(service, ServingSettings()).config
    if not config.loaded:
        config.load()
    await lifecycle.start()
    return Bench(app.state.shell, plane, service, config, held=held)


@pytest.fixture(scope="session")
def run() -> Callable[..., None]:
    """Run an async test body with a bench: `run(body, body_bytes=…)`."""

    def runner(body: Callable[[Bench], Awaitable[None]], **limits: int) -> None:
        async def whole() -> None:
            await body(await make_bench(ShellLimits(**limits)))

        asyncio.run(whole())

    return runner

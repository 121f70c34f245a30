"""One serving process: sockets, uvicorn with the fast protocol, the admin server, start-up, and draining.

    bind -> listen (live, not ready) -> start hooks -> ready
    SIGTERM -> not ready, still serving, answers close their connections -> drain_delay_s -> no new connections -> requests in
    progress finish -> stop hooks (finish, commit, release) -> exit 0.    A second signal skips the waiting.

`run` is the way in for programs: with more than one worker it supervises processes that come back here (`serving.supervisor`).
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import uvicorn
import uvloop
from fastapi import FastAPI

from penstock import logs
from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.serving.admin import AdminRoutes
from penstock.serving.fast import FastConfig, FastProtocol
from penstock.serving.options import ServingSettings
from penstock.serving.shell import Shell

logger = logging.getLogger(__name__)

BACKLOG = 2048


@dataclass
class Service:
    """What a member hands to the server: its application (from `build_app`), lifecycle, counters and admin routes."""

    app: FastAPI
    lifecycle: Lifecycle
    metrics: Metrics
    admin: AdminRoutes = field(default_factory=AdminRoutes)


class QuietServer(uvicorn.Server):
    """uvicorn's server without its signal handling: the process has one owner of signals, and that is not a server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(build: Callable[[], Service], settings: ServingSettings) -> None:
    """Serve until a signal. `build` is called in each serving process, before its event loop starts; it should be quick and leave
    loading to start hooks. Exits 1 if a start hook fails."""
    logs.configure(settings.log_level)
    code = uvloop.run(_serve(build(), settings))
    if code:
        sys.exit(code)


def serve(
    app: FastAPI, settings: ServingSettings, lifecycle: Lifecycle, metrics: Metrics, admin: AdminRoutes | None = None
) -> None:
    """`run` for an application that is already built."""
    run(lambda: Service(app, lifecycle, metrics, admin or AdminRoutes()), settings)


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A bound TCP socket; `shared` lets the processes of one program bind the same port. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    sock.set_inheritable(False)
    return sock


def http_server(service: Service, settings: ServingSettings) -> QuietServer:
    """uvicorn with the fast protocol over a service's application."""
    shell: Shell = service.app.state.shell
    shell.log_success = settings.log_requests
    config = FastConfig(
        service.app,
        http=cast(type[asyncio.Protocol], FastProtocol),
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
    )
    config.shell = shell
    return QuietServer(config)


async def _serve(service: Service, settings: ServingSettings) -> int:
    sock = bind(settings.host, settings.http_port)
    process = Process(service, settings, http_server(service, settings), [sock])
    return await process.run()


class Process:
    """A serving process from listening to exit."""

    def __init__(self, service: Service, settings: ServingSettings, server: QuietServer, sockets: list[socket.socket]) -> None:
        self.service = service
        self.settings = settings
        self.server = server
        self.sockets = sockets
        self.stopping = asyncio.Event()
        self.hurry = asyncio.Event()
        self.code = 0

    async def run(self) -> int:
        """Serve until told to stop. The exit status: 0, or 1 if a start hook failed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        admin = await self._start_admin()
        serving = asyncio.create_task(self.server.serve(self.sockets))
        sweeping = asyncio.create_task(self._sweep())
        starting = asyncio.create_task(self._start())
        stop = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({stop, serving}, return_when=asyncio.FIRST_COMPLETED)
        starting.cancel()
        await self._drain(serving)
        sweeping.cancel()
        stop.cancel()
        if admin is not None:
            await admin()
        await asyncio.gather(starting, sweeping, stop, return_exceptions=True)
        logger.info("stopped", extra={"code": self.code})
        return self.code

    def stop(self) -> None:
        """Begin to drain; a second call skips the waiting."""
        if self.stopping.is_set():
            self.hurry.set()
            self.server.force_exit = True
        self.stopping.set()

    async def _start(self) -> None:
        port = self.sockets[0].getsockname()[1]
        logger.info("listening", extra={"port": port})
        try:
            await self.service.lifecycle.start()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.error("start failed", exc_info=error)
            self.code = 1
            self.hurry.set()
            self.stopping.set()
        else:
            logger.info("ready", extra={"port": port})

    async def _start_admin(self) -> Callable[[], Awaitable[None]] | None:
        return None

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1)
            for connection in list(self.server.server_state.connections):
                if isinstance(connection, FastProtocol):
                    connection.sweep()

    async def _drain(self, serving: "asyncio.Task[None]") -> None:
        settings = self.settings
        self.service.lifecycle.drain()
        logger.info("draining", extra={"delay_s": settings.drain_delay_s})
        if settings.drain_delay_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.hurry.wait(), settings.drain_delay_s)
        self.server.should_exit = True
        await serving
        await self.service.lifecycle.stop(settings.drain_timeout_s)

"""One serving process from listening to exit, alone or as one of several workers.

    listen (live, not ready) -> start hooks -> ready
    SIGTERM -> not ready, still serving, answers close their connections -> drain_delay_s -> no new connections -> requests in
    progress finish -> stop hooks (finish, commit, release) -> exit 0.    A second signal skips the waiting.

Invariant: a request that was read whole before intake stopped is answered, unless a second signal or `drain_timeout_s` cuts it.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from dataclasses import dataclass, field
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from penstock.errors import PenstockError
from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.serving.admin import AdminRoutes, AdminSource, build_admin
from penstock.serving.exposition import render, snapshot
from penstock.serving.fast import FastConfig, FastProtocol
from penstock.serving.heads import KnownHeads
from penstock.serving.link import Link
from penstock.serving.options import ServingSettings
from penstock.serving.quiet_server import QuietServer
from penstock.serving.readiness import Reasons, reasons_of
from penstock.serving.security.middleware import Guarded
from penstock.serving.security.opening import admin_guard, secure
from penstock.serving.shell import Shell
from penstock.serving.side_server import SideServer
from penstock.serving.vitals import Vitals
from penstock.serving.websocket.protocol import StreamProtocol

logger = logging.getLogger(__name__)

BACKLOG = 2048
_PUSH_S = 1.0
# Requests in progress are a dozen objects each that the collector knows of. With the usual 700 it would look at every batch, and
# find nothing: requests free themselves. What it is there for, what errors and closed connections leave, can wait for this many.
COLLECT_AFTER_OBJECTS = 10_000


@dataclass
class Service:
    """What a member hands to the server: its application (from `build_app`), lifecycle, counters, admin routes, and the servers
    beside HTTP (gRPC)."""

    app: FastAPI
    lifecycle: Lifecycle
    metrics: Metrics
    admin: AdminRoutes = field(default_factory=AdminRoutes)
    side_servers: list[SideServer] = field(default_factory=list)


def http_server(service: Service, settings: ServingSettings) -> QuietServer:
    """uvicorn with the fast protocol over a service's application."""
    shell: Shell = service.app.state.shell
    shell.log_success = settings.log_requests
    config = FastConfig(
        service.app,
        http=cast(type[asyncio.Protocol], FastProtocol),
        ws=StreamProtocol,
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
    secure(service.app, shell, settings)
    config.heads = KnownHeads()
    config.streams = service.app.state.streams
    return QuietServer(config, settings.tls())


def admin_server(source: AdminSource, settings: ServingSettings) -> QuietServer:
    """A plain uvicorn over the admin application."""
    app = build_admin(source)
    guard = admin_guard(settings)
    if guard is not None:
        app.add_middleware(Guarded, guard=guard)
    config = uvicorn.Config(
        app,
        loop="none",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # Operators and Prometheus ask again and again: a connection for each would cost more than the answer.
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=1,
    )
    return QuietServer(config, settings.admin_tls())


class Process:
    """A serving process. `link_socket` leads to the parent of a worker; a process without one serves its own admin port."""

    def __init__(
        self,
        service: Service,
        settings: ServingSettings,
        sock: socket.socket,
        admin: socket.socket | None,
        link: socket.socket | None,
    ) -> None:
        self.service = service
        self.settings = settings
        self.sock = sock
        self.admin_socket = admin
        self.link_socket = link
        self.server = http_server(service, settings)
        service.metrics.add_source(Vitals(service.lifecycle.looks, settings.tls_cert).families)
        asked = {"snapshot": self._tell_snapshot, "reasons": self._tell_reasons}
        self.link = Link({**asked, "admin": self._answer_admin, "merge": self._merge_admin})
        self.stopping = asyncio.Event()
        self.hurry = asyncio.Event()
        self.code = 0

    async def run(self) -> int:
        """Serve until told to stop. The exit status: 0, or 1 if a start hook failed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        beside = [asyncio.create_task(self._sweep())]
        if self.link_socket is not None:
            beside.append(asyncio.create_task(self._follow_parent(self.link_socket)))
        admin = admin_server(self._admin_source(), self.settings) if self.admin_socket is not None else None
        if admin is not None and self.admin_socket is not None:
            beside.append(asyncio.create_task(admin.serve([self.admin_socket])))
        serving = asyncio.create_task(self.server.serve([self.sock]))
        # A server that ends by itself ends the process: it would look alive and answer nobody.
        serving.add_done_callback(lambda _: self.stopping.set())
        starting = asyncio.create_task(self._start())
        await self.stopping.wait()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await self._drain(serving)
        await self._end(beside, admin)
        logger.info("stopped", extra={"code": self.code})
        return self.code

    def stop(self) -> None:
        """Begin to drain; a second call skips the waiting."""
        if self.stopping.is_set():
            self.hurry.set()
            self.server.force_exit = True
        self.stopping.set()

    async def _start(self) -> None:
        fields = {
            "port": self.sock.getsockname()[1],
            "admin_port": self.admin_socket.getsockname()[1] if self.admin_socket else None,
        }
        try:
            for server in self.service.side_servers:
                await server.start()
                fields[f"{server.name}_port"] = server.port
            logger.info("listening", extra=fields)
            await self.service.lifecycle.start()
        except Exception as error:
            # What is wrong with the user's files or settings is said in a line; a trace is for faults of ours.
            known = isinstance(error, PenstockError | OSError)
            logger.error("start failed", exc_info=None if known else error, extra={"reason": str(error)})
            self.code = 1
            self.hurry.set()
            self.stopping.set()
            return
        # What was made while starting lives as long as the process: the collector need never look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER_OBJECTS)
        logger.info("ready", extra=fields)
        self._tell_state()

    async def _drain(self, serving: "asyncio.Task[None]") -> None:
        delay_s = self.settings.drain_delay_s
        self.service.lifecycle.drain()
        self._tell_state()
        logger.info("draining", extra={"delay_s": delay_s})
        if delay_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.hurry.wait(), delay_s)
        self.server.should_exit = True
        beside = asyncio.gather(*(self._drain_beside(server) for server in self.service.side_servers))
        try:
            await serving
        except Exception as error:
            logger.error("server failed", exc_info=error)
            self.code = 1
        await beside
        await self.service.lifecycle.stop(self.settings.drain_timeout_s)

    async def _drain_beside(self, server: SideServer) -> None:
        """Drain a server beside HTTP; a second signal cuts it short."""
        draining = asyncio.create_task(server.drain(self.settings.drain_timeout_s))
        hurrying = asyncio.create_task(self.hurry.wait())
        await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not draining.done():
            await server.drain(0)
        await draining

    async def _end(self, beside: "list[asyncio.Task[None]]", admin: QuietServer | None) -> None:
        if admin is not None:
            admin.should_exit = True
            await beside.pop()
        if self.link_socket is not None:
            self.link.tell("snapshot", snapshot(self.service.metrics))
            await self.link.flush()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.sweep_connections()

    def sweep_connections(self) -> None:
        """Hold every connection to its times; called once a second."""
        for connection in list(self.server.server_state.connections):
            if isinstance(connection, FastProtocol | StreamProtocol):
                try:
                    connection.sweep()
                except Exception as error:
                    # One connection's trouble must not take the limits from all the others.
                    logger.error("sweep failed", exc_info=error)
                    connection.transport.abort()

    # --- between parent and worker

    async def _follow_parent(self, sock: socket.socket) -> None:
        await self.link.connect(sock)
        self.service.app.state.worker_link = self.link
        self.link.tell("state", {"state": self.service.lifecycle.state.value, "admin": self.service.admin.listing()})
        pushing = asyncio.create_task(self._push())
        try:
            await self.link.run()
            logger.warning("parent is gone")
            self.stop()
        finally:
            pushing.cancel()
            self.service.app.state.worker_link = None

    async def _push(self) -> None:
        """The parent keeps the latest counters, so that a worker that is killed takes at most a second's worth with it."""
        while True:
            await asyncio.sleep(_PUSH_S)
            self.link.tell("snapshot", snapshot(self.service.metrics))

    def _tell_state(self) -> None:
        if self.link_socket is not None:
            self.link.tell("state", {"state": self.service.lifecycle.state.value})

    async def _tell_snapshot(self, _: dict[str, Any]) -> dict[str, Any]:
        return snapshot(self.service.metrics)

    async def _tell_reasons(self, _: dict[str, Any]) -> Reasons:
        return reasons_of(self.service.lifecycle, self.service.app.state.plane, probe=True)

    async def _answer_admin(self, question: dict[str, Any]) -> Any:
        return await self.service.admin.answer(question)

    async def _merge_admin(self, arguments: dict[str, Any]) -> Any:
        return self.service.admin.merged(arguments["question"], arguments["answers"])

    def _admin_source(self) -> AdminSource:
        async def ask(question: dict[str, Any]) -> Any:
            return self.service.admin.merged(question, [await self.service.admin.answer(question)])

        async def metrics() -> bytes:
            return render([snapshot(self.service.metrics)])

        async def status() -> dict[str, Any]:
            reasons = await self._tell_reasons({})
            return {
                "workers": [{"pid": os.getpid(), "state": self.service.lifecycle.state.value}],
                "ready": not reasons,
                "reasons": reasons,
                "routes": self.service.admin.listing(),
            }

        return AdminSource(ask, metrics, status)

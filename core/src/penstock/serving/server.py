"""The way in for serving programs: one process, or a parent and its workers.

run(build, settings) --one worker--> Process
                     \\-several----> Supervisor --starts this same program again--> run --> Process, tied to its parent
"""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable

import uvloop
from fastapi import FastAPI

from penstock import logs
from penstock.cpus import cpu_limit
from penstock.errors import InvalidInput
from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.serving.admin import AdminRoutes
from penstock.serving.options import ServingSettings
from penstock.serving.process import Process, Service
from penstock.serving.security.opening import check_security
from penstock.serving.supervisor import Supervisor, worker_place

__all__ = ["Service", "bind", "run", "serve"]

logger = logging.getLogger(__name__)


def run(build: Callable[[], Service], settings: ServingSettings, *, most_workers: int | None = None) -> None:
    """Serve until a signal, then return; exit with status 1 if a start hook failed or a port is taken.

    `build` is called in each serving process, before its event loop starts; it should be quick and leave loading to start hooks.
    `most_workers` caps the workers whatever is asked (1 for a program that owns an accelerator).
    """
    logs.configure(settings.log_level)
    place = worker_place(os.environ)
    try:
        check_security(settings)
        if place is not None:
            sock = bind(settings.host, place.port, shared=True)
            service = build()
            for server in service.side_servers:
                server.shared = True
                if server.name == "grpc" and place.grpc_port is not None:
                    server.port = place.grpc_port
            code = uvloop.run(_process(service, settings, sock, None, place.link))
        else:
            code = _run_first(build, settings, most_workers)
    except InvalidInput as error:
        logger.error("cannot start", extra={"reason": str(error)})
        code = 1
    except OSError as error:
        if error.strerror is None or error.errno is None or place is not None:
            raise
        ports = {"http_port": settings.http_port, "admin_port": settings.admin_port, "grpc_port": settings.grpc_port}
        logger.error("cannot listen", extra={"address": error.filename, "reason": error.strerror, **ports})
        code = 1
    if code:
        sys.exit(code)


def serve(
    app: FastAPI, settings: ServingSettings, lifecycle: Lifecycle, metrics: Metrics, admin: AdminRoutes | None = None
) -> None:
    """`run` for an application that is already built."""
    run(lambda: Service(app, lifecycle, metrics, admin or AdminRoutes()), settings)


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A bound TCP socket; `shared` lets the processes of one program bind the same port.

    Raises OSError, its `filename` the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        error.filename = f"{host}:{port}"
        raise
    return sock


def worker_count(asked: int, most: int | None, limit: int) -> int:
    """How many workers to run: what was asked, at most the CPU limit and the program's own limit, at least one."""
    return max(1, min(asked, limit, most if most is not None else asked))


def _run_first(build: Callable[[], Service], settings: ServingSettings, most_workers: int | None) -> int:
    workers = worker_count(settings.workers, most_workers, cpu_limit())
    if workers < settings.workers:
        logger.info("fewer workers than asked for", extra={"asked": settings.workers, "workers": workers})
    sock = bind(settings.host, settings.http_port, shared=workers > 1)
    admin = bind(settings.host, settings.admin_port) if settings.admin_port >= 0 else None
    if workers == 1:
        return uvloop.run(_process(build(), settings, sock, admin, None))
    # Not on uvloop: it cannot start a process in a group of its own, and a parent has little to do.
    grpc = bind(settings.host, settings.grpc_port, shared=True) if settings.grpc_port >= 0 else None
    return asyncio.run(Supervisor(workers, settings, sock, admin, grpc).run())


async def _process(
    service: Service, settings: ServingSettings, sock: socket.socket, admin: socket.socket | None, link: socket.socket | None
) -> int:
    return await Process(service, settings, sock, admin, link).run()

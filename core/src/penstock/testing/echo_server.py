"""`python -m penstock.testing.echo_server`: the whole serving stack over the in-memory data plane."""

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

from penstock.errors import InvalidInput
from penstock.lifecycle import Lifecycle, StopPhase
from penstock.metrics import Metrics
from penstock.protocol.limits import Limits
from penstock.serving.admin import AdminRoutes
from penstock.serving.app import build_app
from penstock.serving.grpc import grpc_servers
from penstock.serving.options import ServingSettings
from penstock.serving.server import Service, run
from penstock.settings import parse, setting
from penstock.testing.plane import BUNDLE, EchoPlane


@dataclass(frozen=True, kw_only=True)
class EchoSettings(ServingSettings):
    """What every serving program takes, and how to start."""

    start: str = setting("works", "Whether starting works, fails, or hangs.", choices=("works", "fails", "hangs"))
    stop: str = setting("works", "Whether stopping works, or hangs with the event loop held.", choices=("works", "hangs"))
    unready: str = setting("", "Why a check holds readiness; nothing: it does not.")


def build(settings: EchoSettings) -> Service:
    """The echo service as a program makes it."""
    lifecycle, metrics = Lifecycle(), Metrics()
    plane = EchoPlane(metrics=metrics.model("echo", BUNDLE), files={"features.yaml": b"formatVersion: 1\n"})

    async def start() -> None:
        if settings.start == "fails":
            raise RuntimeError("asked to fail")
        if settings.start == "hangs":
            await asyncio.Event().wait()

    async def stop() -> None:
        if settings.stop == "hangs":
            time.sleep(3600)  # noqa: ASYNC251 - what a deadlock looks like from outside

    lifecycle.on_start("echo", start)
    lifecycle.add_check("echo", lambda: settings.unready or None)
    lifecycle.on_stop("hang", stop, StopPhase.RELEASE)
    lifecycle.on_stop("echo", plane.drain, StopPhase.FINISH)
    limits = Limits(body_bytes=settings.body_bytes)
    app = build_app(plane, lifecycle=lifecycle, metrics=metrics, limits=limits, shell_limits=settings.shell_limits())
    return Service(app, lifecycle, metrics, echo_admin(), grpc_servers(app, settings, limits=limits))


def echo_admin() -> AdminRoutes:
    """One admin route, which echoes its arguments; the merge counts the workers that were asked."""

    async def echo(arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments["model"] == "wrong":
            raise InvalidInput("asked to fail", field="model")
        return arguments

    routes = AdminRoutes()
    routes.add("POST", "/echo/models/{model}", echo, merge=lambda answers: {"workers": len(answers), "arguments": answers[0]})
    return routes


def main() -> None:
    settings = parse(EchoSettings, sys.argv[1:], os.environ, "PENSTOCK_ECHO")
    run(lambda: build(settings), settings)


if __name__ == "__main__":
    main()

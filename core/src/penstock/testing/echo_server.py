"""`python -m penstock.testing.echo_server`: the whole serving stack over the in-memory data plane."""

import os
import sys

from penstock.lifecycle import Lifecycle, StopPhase
from penstock.metrics import Metrics
from penstock.protocol.limits import Limits
from penstock.serving.app import build_app
from penstock.serving.options import ServingSettings
from penstock.serving.server import Service, run
from penstock.settings import parse
from penstock.testing.plane import BUNDLE, EchoPlane


def build(settings: ServingSettings) -> Service:
    """The echo service as a program makes it."""
    lifecycle, metrics = Lifecycle(), Metrics()
    plane = EchoPlane(metrics=metrics.model("echo", BUNDLE), files={"features.yaml": b"formatVersion: 1\n"})
    lifecycle.on_stop("echo", plane.drain, StopPhase.FINISH)
    limits = Limits(body_bytes=settings.body_bytes)
    app = build_app(plane, lifecycle=lifecycle, metrics=metrics, limits=limits, shell_limits=settings.shell_limits())
    return Service(app, lifecycle, metrics)


def main() -> None:
    settings = parse(ServingSettings, sys.argv[1:], os.environ, "PENSTOCK_ECHO")
    run(lambda: build(settings), settings)


if __name__ == "__main__":
    main()

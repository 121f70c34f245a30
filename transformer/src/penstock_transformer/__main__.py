"""`penstock-transformer`: what callers reach in front of a predictor.

settings -> Service (app over a Transformer) -> server listens -> start hook follows the predictor or the route -> ready
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from fastapi import FastAPI

from penstock.lifecycle import Lifecycle, StopPhase
from penstock.metrics import Metrics
from penstock.protocol.limits import Limits
from penstock.serving.app import build_app
from penstock.serving.grpc import grpc_servers
from penstock.serving.server import Service, run
from penstock.settings import parse
from penstock_transformer.http.records import records_router
from penstock_transformer.http.routes import hot_routes
from penstock_transformer.route.admin import add_route
from penstock_transformer.settings import INJECTED, PREFIX, TransformerSettings
from penstock_transformer.transformer import Transformer

if TYPE_CHECKING:
    from penstock_transformer.predictions.http.adding import PredictionsHttp

DESCRIPTION = "Answer predictions: fetch stored features, encode, call the predictor, post-process."


# The other programs of this image, by first argument; each is imported only when it is asked for.
PROGRAMS = {
    "worker": "penstock_transformer.worker.program",
    "relay": "penstock_transformer.relay.program",
    "sink": "penstock_transformer.sink.program",
    "updates": "penstock_transformer.updates.program",
    "log-sink": "penstock_transformer.feedback.sink.program",
    "retrain-trigger": "penstock_transformer.feedback.trigger.program",
    "migrate": "penstock_transformer.predictions.database.program",
}


def build(settings: TransformerSettings) -> Service:
    """The service of one process. Nothing is connected yet: that is a start hook's work."""
    lifecycle, metrics = Lifecycle(), Metrics()
    transformer = Transformer.open(settings, metrics=metrics)
    lifecycle.on_start("route", transformer.start)
    lifecycle.on_stop("connections", transformer.close, StopPhase.RELEASE)
    lifecycle.on_stop("requests", transformer.drain, StopPhase.FINISH)
    limits = Limits(body_bytes=settings.body_bytes)
    # Without a database nothing of predictions is imported, and their paths are not there.
    predictions = _predictions(settings, transformer, lifecycle, limits, metrics) if settings.database is not None else None
    app = build_app(
        transformer,
        lifecycle=lifecycle,
        metrics=metrics,
        limits=limits,
        routes=hot_routes(transformer, limits=limits) if predictions is None else predictions.routes,
        shell_limits=settings.shell_limits(),
        title=f"Penstock: {settings.model_name}",
    )
    app.include_router(records_router(transformer))
    if predictions is not None:
        predictions.mount(app)
    if settings.log_rate > 0:
        _log_predictions(settings, app, transformer, lifecycle, metrics, predictions)
    if settings.kafka_bootstrap:
        _describe_topics(settings, app, transformer)
    if settings.kafka_bootstrap or predictions is not None:
        _watch_queues(settings, app, lifecycle, metrics, predictions)
    return Service(app, lifecycle, metrics, add_route(transformer, lifecycle), grpc_servers(app, settings, limits=limits))


def _predictions(
    settings: TransformerSettings, transformer: Transformer, lifecycle: Lifecycle, limits: Limits, metrics: Metrics
) -> "PredictionsHttp":
    from penstock_transformer.predictions.http.adding import PredictionsHttp

    # With Kafka the relay publishes what is handed in, and workers predict it; without, this process does.
    drained = {} if settings.kafka_bootstrap else {settings.model_name: transformer}
    return PredictionsHttp(settings, transformer, drained, lifecycle, limits=limits, metrics=metrics)


def _log_predictions(
    settings: TransformerSettings,
    app: FastAPI,
    transformer: Transformer,
    lifecycle: Lifecycle,
    metrics: Metrics,
    predictions: "PredictionsHttp | None",
) -> None:
    from penstock_transformer.feedback.http import outcomes_router
    from penstock_transformer.feedback.opening import Feedback

    feedback = Feedback(settings, settings)
    feedback.attach(lifecycle, metrics)
    transformer.pipeline.log = feedback.log(settings.model_name)
    service = None if predictions is None else predictions.service
    app.include_router(outcomes_router(feedback, (settings.model_name,), service))


def _describe_topics(settings: TransformerSettings, app: FastAPI, transformer: Transformer) -> None:
    from penstock_transformer.worker.asyncapi import asyncapi_router

    logs = settings.logs_to_kafka
    app.include_router(asyncapi_router(transformer, settings.model_name, bootstrap=settings.kafka_bootstrap, logs=logs))


def _watch_queues(
    settings: TransformerSettings,
    app: FastAPI,
    lifecycle: Lifecycle,
    metrics: Metrics,
    predictions: "PredictionsHttp | None",
) -> None:
    from penstock_transformer.queues.adding import QueuesHttp
    from penstock_transformer.sink.settings import group_of

    backlog = None if predictions is None else predictions.service.backlog
    sink = settings.sink_group or (group_of(settings.database) if settings.database is not None else None)
    QueuesHttp(settings, settings.model_name, lifecycle, metrics, sink=sink, backlog=backlog).mount(app)


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 after a drain, 2 for wrong options."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in PROGRAMS:
        import_module(PROGRAMS[arguments[0]]).main(arguments[1:])
        return
    settings = parse(
        TransformerSettings,
        arguments,
        os.environ,
        PREFIX,
        program="penstock-transformer",
        description=DESCRIPTION,
        injected=INJECTED,
    )
    run(lambda: build(settings), settings)


if __name__ == "__main__":
    main()

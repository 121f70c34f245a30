"""`penstock-predictor`: serve a model directory, or verify a bundle.

settings -> Service (app over an empty Predictor) -> server listens -> start hook loads, tries and measures the models -> ready
"""

import os
import sys
from collections.abc import Sequence

from penstock.errors import PenstockError
from penstock.lifecycle import Lifecycle, StopPhase
from penstock.metrics import Metrics
from penstock.protocol.limits import Limits
from penstock.serving.admin import AdminRoutes
from penstock.serving.app import build_app
from penstock.serving.grpc import grpc_servers
from penstock.serving.repository import EveryWorker, add_repository, repository_router
from penstock.serving.server import Service, run
from penstock.settings import parse
from penstock_predictor.heap import steady_heap
from penstock_predictor.predictor import Predictor
from penstock_predictor.reloading import PredictorRepository
from penstock_predictor.settings import PREFIX, PredictorSettings
from penstock_predictor.source import ModelSource, open_source
from penstock_predictor.verification import verify_command
from penstock_predictor.watching import Watcher

DESCRIPTION = "Serve ONNX models over the Open Inference Protocol. `penstock-predictor verify BUNDLE` checks a bundle and ends."


def build(settings: PredictorSettings, source: ModelSource) -> Service:
    """The service of one process. Nothing is loaded yet: that is a start hook's work."""
    lifecycle, metrics = Lifecycle(), Metrics()
    predictor = Predictor(metrics)
    repository = PredictorRepository(predictor, source, settings)
    admin = AdminRoutes()
    add_repository(admin, repository)
    lifecycle.on_start("models", repository.start)
    if settings.repository_poll_s:
        watcher = Watcher(repository, settings.repository_poll_s)
        lifecycle.on_start("watch", watcher.start)
        lifecycle.on_stop("watch", watcher.stop, StopPhase.INTAKE)
    lifecycle.on_stop("requests", predictor.drain, StopPhase.FINISH)
    lifecycle.on_stop("models", predictor.close, StopPhase.RELEASE)
    limits = Limits(body_bytes=settings.body_bytes)
    app = build_app(
        predictor,
        lifecycle=lifecycle,
        metrics=metrics,
        limits=limits,
        shell_limits=settings.shell_limits(),
        title=f"Penstock predictor: {settings.model_name}",
    )
    everywhere = EveryWorker(repository, app.state) if settings.repository_api else None
    if everywhere is not None:
        app.include_router(repository_router(everywhere))
    return Service(app, lifecycle, metrics, admin, grpc_servers(app, settings, limits=limits, repository=everywhere))


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 after a drain, 1 if a model cannot be loaded or verified, 2 for wrong options."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["verify"]:
        sys.exit(verify_command(arguments[1:]))
    settings = parse(PredictorSettings, arguments, os.environ, PREFIX, program="penstock-predictor", description=DESCRIPTION)
    try:
        source = open_source(settings.model_dir, settings.model_name, settings.model_cache)
    except PenstockError as error:
        sys.exit(f"penstock-predictor: {error}")
    steady_heap()
    # Processes that share a GPU would each hold the model in its memory and take turns anyway.
    run(lambda: build(settings, source), settings, most_workers=None if settings.session().on_cpu() else 1)


if __name__ == "__main__":
    main()

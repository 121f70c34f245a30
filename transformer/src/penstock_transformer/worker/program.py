"""`penstock-transformer worker`: records in, predictions out, exactly once; the same pipeline as the transformer's.

settings -> Service (health and metrics over a Transformer) -> start: bundle warm -> topics checked -> outlet -> group -> ready
SIGTERM -> not ready -> nothing more is read -> what is in flight is predicted and committed -> group left -> transformer closed
"""

import asyncio
from collections.abc import Sequence

from penstock.lifecycle import Lifecycle, StopPhase
from penstock.metrics import Metrics
from penstock.serving.app import build_app
from penstock.serving.server import Service
from penstock_transformer.bare_service import NoModels
from penstock_transformer.part import Part, run_part
from penstock_transformer.queues.adding import QueuesHttp
from penstock_transformer.queues.figures import WorkerFigures, worker_figures
from penstock_transformer.route.admin import add_route
from penstock_transformer.transformer import Transformer
from penstock_transformer.worker.asyncapi import asyncapi_router
from penstock_transformer.worker.effects import Stop
from penstock_transformer.worker.large_answers import ClosedPredicting
from penstock_transformer.worker.metrics import WorkerMetrics
from penstock_transformer.worker.opening import open_worker
from penstock_transformer.worker.settings import WorkerSettings
from penstock_transformer.worker.shell import WorkerShell

DESCRIPTION = "Predict what a Kafka topic brings: read, fetch stored features, encode, call the predictor, write, exactly once."

# Of the time to drain, so much is kept for leaving the group and closing.
_CLOSING_S = 5.0


class Worker(Part):
    """A worker and what it stands on."""

    def __init__(self, settings: WorkerSettings, transformer: Transformer, metrics: Metrics) -> None:
        super().__init__()
        self._settings = settings
        self._transformer = transformer
        self._metrics = WorkerMetrics(model=settings.model_name)
        self._shell: WorkerShell | None = None
        self._predicting: ClosedPredicting | None = None
        metrics.add_source(self._metrics.families)

    def reason(self) -> str | None:
        """Why it is not ready."""
        if self._shell is None:
            return "not connected yet"
        if self._shell.stopped.done():
            return "stopped"
        return None if self._shell.assigned else "no assignment yet"

    def figures(self) -> WorkerFigures | None:
        """What the machine holds and has counted, None before there is one."""
        return None if self._shell is None else worker_figures(self._shell)

    async def start(self) -> None:
        """Topics, outlet, group. Waits for a broker that is away; raises for what waiting does not mend."""
        self._shell, self._predicting = await open_worker(self._settings, self._transformer)
        self._metrics.shell = self._shell
        self._shell.stopped.add_done_callback(self._stopped)
        await self._shell.start()

    async def drain(self) -> None:
        """Finish and commit what is in flight."""
        self.leaving = True
        if self._shell is not None:
            await self._shell.drain(max(1.0, self._settings.drain_timeout_s - _CLOSING_S))

    async def close(self) -> None:
        """Leave the group."""
        self.leaving = True
        if self._shell is not None:
            await self._shell.close()
        if self._predicting is not None:
            await self._predicting.close()

    def _stopped(self, stopped: "asyncio.Future[Stop]") -> None:
        if not stopped.cancelled():
            self.ended(stopped.result().status)


def build(settings: WorkerSettings) -> tuple[Service, Worker]:
    """The service of the process, and the worker in it. Nothing is connected yet."""
    lifecycle, metrics = Lifecycle(), Metrics()
    transformer = Transformer.open(settings, metrics=metrics)
    worker = Worker(settings, transformer, metrics)
    if settings.log_rate > 0:
        _log_predictions(settings, transformer, lifecycle, metrics)
    queues = QueuesHttp(settings, settings.model_name, lifecycle, metrics, worker=worker.figures)
    lifecycle.on_start("route", transformer.start)
    lifecycle.on_start("worker", worker.start)
    # A pod that has no partition, because others have them all, must not hold up a rollout.
    lifecycle.add_check("worker", worker.reason, probed=False)
    lifecycle.on_stop("connections", transformer.close, StopPhase.RELEASE)
    lifecycle.on_stop("worker", worker.close, StopPhase.RELEASE)
    lifecycle.on_stop("requests", transformer.drain, StopPhase.COMMIT)
    lifecycle.on_stop("records", worker.drain, StopPhase.FINISH)
    app = build_app(
        NoModels(),
        lifecycle=lifecycle,
        metrics=metrics,
        shell_limits=settings.shell_limits(),
        title=f"Penstock worker: {settings.model_name}",
    )
    queues.mount(app)
    logs = settings.logs_to_kafka
    app.include_router(asyncapi_router(transformer, settings.model_name, bootstrap=settings.kafka_bootstrap, logs=logs))
    return Service(app, lifecycle, metrics, add_route(transformer, lifecycle)), worker


def _log_predictions(settings: WorkerSettings, transformer: Transformer, lifecycle: Lifecycle, metrics: Metrics) -> None:
    from penstock_transformer.feedback.opening import Feedback

    feedback = Feedback(settings, settings)
    feedback.attach(lifecycle, metrics)
    transformer.pipeline.log = feedback.log(settings.model_name)


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 after a drain, 1 if it cannot go on, 2 for wrong options."""
    run_part(WorkerSettings, build, argv, name="worker", description=DESCRIPTION)

"""`penstock-transformer worker`: records in, predictions out, exactly once; the same pipeline as the transformer's.

settings -> Service (health and metrics over a Transformer) -> start: bundle warm -> topics checked -> outlet -> group -> ready
SIGTERM -> not ready -> nothing more is read -> what is in flight is predicted and committed -> group left -> transformer closed
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from penstock.lifecycle import Lifecycle, StopPhase
from penstock.metrics import Metrics
from penstock.serving.app import build_app
from penstock.serving.server import Service, run
from penstock.settings import parse
from penstock_transformer.bare_service import NoModels
from penstock_transformer.queues.adding import QueuesHttp
from penstock_transformer.queues.figures import WorkerFigures, worker_figures
from penstock_transformer.settings import PREFIX
from penstock_transformer.transformer import Transformer
from penstock_transformer.worker.asyncapi import asyncapi_router
from penstock_transformer.worker.effects import Stop
from penstock_transformer.worker.large_answers import ClosedPredicting
from penstock_transformer.worker.metrics import WorkerMetrics
from penstock_transformer.worker.opening import open_worker
from penstock_transformer.worker.settings import WorkerSettings
from penstock_transformer.worker.shell import WorkerShell

DESCRIPTION = "Predict what a Kafka topic brings: read, fetch stored features, encode, call the predictor, write, exactly once."

logger = logging.getLogger(__name__)
# Of the time to drain, so much is kept for leaving the group and closing.
_CLOSING_S = 5.0


class Worker:
    """A worker's parts, from start to stop. `status` is what the process exits with: 1 if the worker ended by itself."""

    def __init__(self, settings: WorkerSettings, transformer: Transformer, metrics: Metrics) -> None:
        self.status = 0
        self._settings = settings
        self._transformer = transformer
        self._metrics = WorkerMetrics()
        self._shell: WorkerShell | None = None
        self._predicting: ClosedPredicting | None = None
        self._draining = False
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
        self._draining = True
        if self._shell is not None:
            await self._shell.drain(max(1.0, self._settings.drain_timeout_s - _CLOSING_S))

    async def close(self) -> None:
        """Leave the group."""
        self._draining = True
        if self._shell is not None:
            await self._shell.close()
        if self._predicting is not None:
            await self._predicting.close()

    def _stopped(self, stopped: "asyncio.Future[Stop]") -> None:
        if self._draining or stopped.cancelled():
            return
        # It ended by itself: the process has nothing to do any more, and goes the way that a signal sends it.
        self.status = stopped.result().status or 1
        signal.raise_signal(signal.SIGTERM)


def build(settings: WorkerSettings, workers: list[Worker]) -> Service:
    """The service of the process. Nothing is connected yet. The worker is added to `workers`."""
    lifecycle, metrics = Lifecycle(), Metrics()
    transformer = Transformer.open(settings, metrics=metrics)
    worker = Worker(settings, transformer, metrics)
    workers.append(worker)
    queues = QueuesHttp(settings, settings.model_name, lifecycle, metrics, worker=worker.figures)
    lifecycle.on_start("route", transformer.start)
    lifecycle.on_start("worker", worker.start)
    lifecycle.add_check("worker", worker.reason)
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
    app.include_router(asyncapi_router(transformer, settings.model_name, bootstrap=settings.kafka_bootstrap))
    return Service(app, lifecycle, metrics)


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 after a drain, 1 if it cannot go on, 2 for wrong options."""
    arguments = sys.argv[1:] if argv is None else argv
    settings = parse(
        WorkerSettings, arguments, os.environ, PREFIX, program="penstock-transformer worker", description=DESCRIPTION
    )
    workers: list[Worker] = []
    run(lambda: build(settings, workers), settings, most_workers=1)
    status = max((worker.status for worker in workers), default=0)
    if status:
        sys.exit(status)

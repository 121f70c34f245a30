"""The monitor added to a program: its routes, its metrics, its page.

settings, lifecycle, metrics --> Queues (monitor, desk) --mount--> application
"""

from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI

from penstock.lifecycle import Lifecycle, StopPhase
from penstock.metrics import Metrics
from penstock_transformer.predictions.port import Backlog
from penstock_transformer.queues.console import console_router
from penstock_transformer.queues.desk import Desk
from penstock_transformer.queues.figures import WorkerFigures
from penstock_transformer.queues.http import queues_router
from penstock_transformer.queues.looking import LETTERS, PREDICTIONS, Looker
from penstock_transformer.queues.metrics import QueueMetrics
from penstock_transformer.queues.monitor import QueueMonitor
from penstock_transformer.queues.opening import KafkaParts
from penstock_transformer.queues.settings import QueuesSettings
from penstock_transformer.worker.box_opening import KafkaBroker


class QueuesHttp:
    """Make it before the server starts; then `mount` it. `sink`: the group that writes predictions into a database, if any."""

    def __init__(
        self,
        settings: QueuesSettings,
        model: str,
        lifecycle: Lifecycle,
        metrics: Metrics,
        *,
        sink: str | None = None,
        worker: Callable[[], WorkerFigures | None] | None = None,
        backlog: Callable[[], Awaitable[Sequence[Backlog] | None]] | None = None,
    ) -> None:
        looker = desk = None
        if settings.kafka_bootstrap:
            groups = {} if sink is None else {PREDICTIONS: sink, LETTERS: sink}
            looker = Looker(model, settings.group_id or f"penstock-{model}", KafkaParts(settings), groups=groups)
            desk = Desk(model, KafkaBroker(settings), changed=self._changed)
        self.monitor = QueueMonitor(lifecycle, looker=looker, refresh_s=settings.queues_refresh_s, worker=worker, backlog=backlog)
        self._desk = desk
        if desk is not None:
            lifecycle.on_stop("dead letters", self._close_desk, StopPhase.RELEASE)
        metrics.add_source(QueueMetrics(self.monitor).families)

    def mount(self, app: FastAPI) -> None:
        """Add the routes and the page."""
        app.include_router(queues_router(self.monitor, self._desk))
        app.include_router(console_router())

    def _changed(self) -> None:
        self.monitor.look_soon()

    async def _close_desk(self) -> None:
        if self._desk is not None:
            self._desk.close()

"""Predictions added to an application: their routes, and the service behind them."""

from dataclasses import replace

from fastapi import FastAPI

from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.protocol.limits import Limits
from penstock.serving.routes import HotRoutes
from penstock_transformer.http.routes import hot_routes
from penstock_transformer.http.several import TransformerPlane
from penstock_transformer.predictions.draining import Pipelines
from penstock_transformer.predictions.http.events import StreamEvents
from penstock_transformer.predictions.http.router import predictions_router
from penstock_transformer.predictions.http.routes import prediction_routes
from penstock_transformer.predictions.http.ways import PredictionWays
from penstock_transformer.predictions.service import PredictionService
from penstock_transformer.predictions.settings import PredictionsSettings


class PredictionsHttp:
    """Make it before the application, whose hot `routes` it has; then `mount` it."""

    def __init__(
        self,
        settings: PredictionsSettings,
        plane: TransformerPlane,
        pipelines: Pipelines,
        lifecycle: Lifecycle,
        *,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """`plane` answers for all models, `pipelines` are theirs one by one."""
        self.service = PredictionService(settings, pipelines, lifecycle)
        if metrics is not None:
            metrics.add_source(self.service.families, summed=True)
        ways = PredictionWays(plane, self.service, limits=limits)
        self.routes: HotRoutes = hot_routes(plane, limits=limits, later=ways)
        self.routes.extend(prediction_routes(ways))

    def mount(self, app: FastAPI) -> None:
        """Add what is not hot, and what a stream may subscribe to."""
        app.include_router(predictions_router(self.service))
        app.state.streams = replace(app.state.streams, follow=StreamEvents(self.service))

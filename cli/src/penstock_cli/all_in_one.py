"""Transformer and predictor in one process, through the same DataPlane as in two.

    directories -> places -> Predictor (loaded) <-- Transformer a model --> one application

The transformers fetch their bundles' small files from the predictor as they would over the network, so nothing here knows
features or tensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fastapi import FastAPI

from penstock.bundle.reading import open_bundle
from penstock.errors import InvalidInput, NotFound
from penstock.lifecycle import Lifecycle, StopPhase
from penstock.metrics import Metrics
from penstock.protocol.limits import Limits
from penstock.serving.app import build_app
from penstock.serving.grpc import grpc_servers
from penstock.serving.options import ServingSettings
from penstock.serving.server import Service
from penstock.settings import setting
from penstock_cli.errors import Failure
from penstock_predictor.loading import load_model
from penstock_predictor.predictor import Predictor
from penstock_predictor.repository import MODEL, Place, find, model_file
from penstock_predictor.settings import ModelSettings
from penstock_transformer.feedback.settings import LogSettings
from penstock_transformer.http.records import records_router
from penstock_transformer.http.routes import hot_routes
from penstock_transformer.http.several import Transformers
from penstock_transformer.predictions.http.adding import PredictionsHttp
from penstock_transformer.predictions.settings import PredictionsSettings
from penstock_transformer.queues.adding import QueuesHttp
from penstock_transformer.queues.settings import QueuesSettings
from penstock_transformer.settings import PipelineSettings
from penstock_transformer.transformer import Transformer

PREFIX = "PENSTOCK_SERVE"
FEATURES = "features.yaml"


@dataclass(frozen=True, kw_only=True)
class ServeSettings(ServingSettings, ModelSettings, PredictionsSettings, LogSettings):
    """Everything that `penstock serve` takes: the server's, the predictor's, and where stored features are. Made for one machine:
    it listens there alone, has no admin port, and ends at once."""

    host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 for all of the machine's.")
    admin_port: int = setting(-1, "Port of the admin API; 0 lets the kernel choose, -1 switches it off.", least=-1, most=65535)
    drain_delay_s: float = setting(0.0, "After SIGTERM, keep serving for so long, until routers have noticed.", unit="s")
    log_level: str = setting("warning", "Least level that is logged.", choices=("debug", "info", "warning", "error"))
    profile_s: float = setting(0.5, "Time given to measuring a model at load; 0 measures one run a size.", unit="s")
    model_name: str | None = setting(None, "Name of the model in URLs, for a single bundle; its own name if left out.")
    feature_store: str | None = setting(
        None,
        "Where stored features are: sqlite:///PATH, redis://, rediss://, postgresql:// or feast:PATH of a feature_store.yaml.",
        secret=True,
    )
    store_timeout_ms: float = setting(1000.0, "A read of the feature store that takes longer is given up.", unit="ms")


def places_of(directories: Sequence[Path], model_name: str | None) -> list[Place]:
    """Every model to be served, by name. Raises Failure for a directory without one, or a name that two of them have."""
    places = [place for directory in directories for place in _places(directory)]
    names = {place.model for place in places}
    if model_name is not None:
        if len(names) != 1:
            raise Failure(f"--model_name names one model, but there are {len(names)}: {', '.join(sorted(names))}")
        places = [replace(place, model=model_name) for place in places]
    seen: dict[tuple[str, str | None], Path] = {}
    for place in places:
        other = seen.setdefault((place.model, place.version), place.directory)
        if other is not place.directory:
            raise Failure(f"{other} and {place.directory} are both called {place.model!r}", "Serve them one at a time.")
    return places


def _places(directory: Path) -> list[Place]:
    if directory.is_file() and directory.suffix == ".onnx":
        directory = directory.parent
    try:
        found = find(directory, directory.resolve().name)
    except (NotFound, InvalidInput) as error:
        raise Failure(
            error.message, "Give a bundle (`penstock bundle build` makes one) or a directory with a model.onnx."
        ) from None
    return [_opened(place, alone=place.directory == directory) for place in found]


def _opened(place: Place, *, alone: bool) -> Place:
    """The place with its bundle, opened once for all who look into it. One that was named `alone` is called as its bundle.yaml
    says; a plain model is called as its directory is. Raises Failure for what a bundle is made of.
    """
    if place.is_bundle:
        bundle = open_bundle(place.directory)
        return replace(place, bundle=bundle, model=bundle.manifest.name if alone else place.model)
    if (place.directory / FEATURES).is_file():
        model = model_file(place.directory) or place.directory / MODEL
        raise Failure(
            f"{place.directory} holds a model and a {FEATURES}, but is no bundle of them",
            f"Build one and serve that: penstock bundle build {model} --features {place.directory / FEATURES} -o BUNDLE",
        )
    return place


def build(settings: ServeSettings, places: Sequence[Place]) -> tuple[Service, Transformers]:
    """The service of one process, its models loaded. Raises InvalidInput for a model or bundle that is not one."""
    lifecycle, metrics = Lifecycle(), Metrics()
    predictor = Predictor(metrics)
    predictor.add([load_model(place, settings) for place in places])
    names = dict.fromkeys(place.model for place in places)
    by_model = {name: Transformer.open(_pipeline(name, settings), predictor, metrics=metrics) for name in names}
    transformers = Transformers(dict(by_model))
    lifecycle.on_start("transformers", transformers.start)
    lifecycle.on_stop("predictor", predictor.close, StopPhase.RELEASE)
    lifecycle.on_stop("connections", transformers.close, StopPhase.RELEASE)
    lifecycle.on_stop("runs", predictor.drain, StopPhase.FINISH)
    lifecycle.on_stop("requests", transformers.drain, StopPhase.FINISH)
    limits = Limits(body_bytes=settings.body_bytes)
    predictions = None
    if has_predictions(settings):
        predictions = PredictionsHttp(settings, transformers, by_model, lifecycle, limits=limits, metrics=metrics)
    app = build_app(
        transformers,
        lifecycle=lifecycle,
        metrics=metrics,
        limits=limits,
        routes=hot_routes(transformers, limits=limits) if predictions is None else predictions.routes,
        shell_limits=settings.shell_limits(),
        title=f"Penstock: {', '.join(names)}",
    )
    app.include_router(records_router(transformers))
    if settings.log_rate > 0:
        _log_predictions(settings, app, by_model, lifecycle, metrics, predictions)
    if predictions is not None:
        predictions.mount(app)
        backlog = predictions.service.backlog
        QueuesHttp(QueuesSettings(), next(iter(names)), lifecycle, metrics, backlog=backlog).mount(app)
    return Service(app, lifecycle, metrics, side_servers=grpc_servers(app, settings, limits=limits)), transformers


def _log_predictions(
    settings: ServeSettings,
    app: FastAPI,
    by_model: dict[str, Transformer],
    lifecycle: Lifecycle,
    metrics: Metrics,
    predictions: PredictionsHttp | None,
) -> None:
    from penstock_transformer.feedback.http import outcomes_router
    from penstock_transformer.feedback.opening import Feedback

    feedback = Feedback(settings)
    feedback.attach(lifecycle, metrics)
    for model, transformer in by_model.items():
        transformer.pipeline.log = feedback.log(model)
    app.include_router(outcomes_router(feedback, tuple(by_model), None if predictions is None else predictions.service))


def has_predictions(settings: ServeSettings) -> bool:
    """Whether predictions are kept: the file that is the default is one process's, and several need a database that is named."""
    return settings.workers == 1 or settings.database is not None


def _pipeline(name: str, settings: ServeSettings) -> PipelineSettings:
    return PipelineSettings(model_name=name, feature_store=settings.feature_store, store_timeout_ms=settings.store_timeout_ms)

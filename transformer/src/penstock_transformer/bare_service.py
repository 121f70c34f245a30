"""The serving side of a program that serves no model: health, readiness, /metrics, and the admin port, for relay and sink."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import Metric

from penstock.dataplane import InferRequest, ModelMetadata, Reply
from penstock.errors import NotFound
from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.serving.app import build_app
from penstock.serving.options import ServingSettings
from penstock.serving.server import Service

NO_MODEL = "this program serves no model"


class NoModels:
    """A DataPlane without models: its process does other work."""

    def submit(self, request: InferRequest, reply: Reply) -> None:  # noqa: ARG002
        """Nobody is served."""
        reply.error(NotFound(NO_MODEL))

    async def infer(self, request: InferRequest) -> None:  # noqa: ARG002
        """Nobody is served."""
        raise NotFound(NO_MODEL)

    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata:  # noqa: ARG002
        """There are none."""
        raise NotFound(NO_MODEL)

    def models(self) -> Sequence[str]:
        """None."""
        return ()

    def ready(self, model: str | None = None, version: str | None = None) -> bool:  # noqa: ARG002
        """Readiness is the lifecycle's."""
        if model is not None:
            raise NotFound(NO_MODEL)
        return True

    async def bundle_file(self, model: str, file: str) -> bytes:  # noqa: ARG002
        """There are none."""
        raise NotFound(NO_MODEL)


def bare_service(
    settings: ServingSettings, lifecycle: Lifecycle, families: Callable[[], Iterable[Metric]], *, title: str
) -> Service:
    """A service of health and metrics; `families` are the program's own."""
    metrics = Metrics()
    metrics.add_source(families)
    app = build_app(NoModels(), lifecycle=lifecycle, metrics=metrics, shell_limits=settings.shell_limits(), title=title)
    return Service(app, lifecycle, metrics)

"""`penstock-transformer updates`: feature updates from Kafka into the online store, in a cluster.

settings -> features.yaml read -> Service (health and metrics) -> start: store, topics, group -> ready
SIGTERM -> not ready -> nothing more is read -> what was read is written and committed -> group left -> exit 0
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from prometheus_client.core import Metric

from penstock.errors import InvalidInput
from penstock.features.reading import read_spec
from penstock.features.spec import FeatureSpec
from penstock.lifecycle import Lifecycle, StopPhase
from penstock.serving.server import Service
from penstock_transformer.bare_service import bare_service
from penstock_transformer.part import Part, run_part
from penstock_transformer.updates.settings import UpdatesSettings
from penstock_transformer.updates.stream import Stream
from penstock_transformer.worker.effects import Stop
from penstock_transformer.worker.metrics import WorkerMetrics

DESCRIPTION = "Write feature updates from Kafka into the online store, each as of its own time."
_CLOSING_S = 5.0


class Updates(Part):
    """The stream within the process."""

    def __init__(self, settings: UpdatesSettings) -> None:
        super().__init__()
        self._settings = settings
        self._metrics = WorkerMetrics()
        self._stream: Stream | None = None

    async def start(self) -> None:
        """Begin. Raises InvalidInput for features.yaml or a store's address, BrokerError."""
        spec = read_features(self._settings.features)
        views = views_of(spec, self._settings.feature_sets)
        assert spec.store is not None
        self._stream = Stream(self._settings, views, spec.store, self._settings.feature_store)
        await self._stream.start()
        shell = self._stream.shell
        assert shell is not None
        self._metrics.shell = shell
        shell.stopped.add_done_callback(self._stopped)

    def check(self) -> str | None:
        """Why it is not ready."""
        shell = None if self._stream is None else self._stream.shell
        if shell is None:
            return "not connected yet"
        if shell.stopped.done():
            return "stopped"
        return None if shell.assigned else "no assignment yet"

    async def drain(self) -> None:
        """Write and commit what was read."""
        self.leaving = True
        if self._stream is not None:
            await self._stream.drain(max(1.0, self._settings.drain_timeout_s - _CLOSING_S))

    async def close(self) -> None:
        """Leave the group."""
        self.leaving = True
        if self._stream is not None:
            await self._stream.close()

    def families(self) -> list[Metric]:
        """Its metrics."""
        own = [] if self._stream is None else [*self._stream.updating.families()]
        return [*own, *self._metrics.families()]

    def _stopped(self, stopped: "asyncio.Future[Stop]") -> None:
        if not stopped.cancelled():
            self.ended(stopped.result().status)


def read_features(path: Path) -> FeatureSpec:
    """A features.yaml, or that of a bundle's directory. Raises InvalidInput, also for one that no store was stamped into."""
    file = path / "features.yaml" if path.is_dir() else path
    try:
        spec = read_spec(file.read_bytes())
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(file)) from None
    if spec.store is None:
        raise InvalidInput("has no `store`: it is stamped by `penstock bundle build`", field=str(file))
    return spec


def views_of(spec: FeatureSpec, names: Sequence[str]) -> dict[str, str]:
    """The view of each feature set. Raises InvalidInput for a set that the spec lacks."""
    for name in names:
        if name not in spec.sets:
            raise InvalidInput(f"no feature set {name!r}; there are {', '.join(spec.sets) or 'none'}", field="feature_sets")
    return {name: spec.sets[name].view for name in names}


def build(settings: UpdatesSettings) -> tuple[Service, Updates]:
    """The service of the process, and the stream in it. Nothing is connected yet."""
    lifecycle, updates = Lifecycle(), Updates(settings)
    lifecycle.on_start("updates", updates.start)
    lifecycle.add_check("updates", updates.check)
    lifecycle.on_stop("group", updates.close, StopPhase.RELEASE)
    lifecycle.on_stop("updates", updates.drain, StopPhase.FINISH)
    return bare_service(settings, lifecycle, updates.families, title="Penstock feature updates"), updates


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 after a drain, 1 if it cannot go on, 2 for wrong options."""
    run_part(UpdatesSettings, build, argv, name="updates", description=DESCRIPTION)

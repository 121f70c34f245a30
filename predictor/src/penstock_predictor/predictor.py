"""The predictor: a DataPlane over the models of one directory.

    submit -> model by name -> version and bundle expected -> plan -> batcher -> session -> reply

It knows tensors, not features. A caller that expects a bundle is answered by that bundle or refused with WrongBundle, never by
another one.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from prometheus_client.core import GaugeMetricFamily, Metric

from penstock.dataplane import InferRequest, ModelMetadata, Reply
from penstock.errors import Internal, NotFound, PenstockError, WrongBundle
from penstock.metrics import Metrics
from penstock_predictor.loading import LoadedModel, load_model
from penstock_predictor.repository import find, version_order
from penstock_predictor.served import ServedModel
from penstock_predictor.settings import ModelSettings

log = logging.getLogger(__name__)


class Predictor:
    """Answers inference requests for every model of a directory. Made by `open` on any thread, used on the event loop's."""

    def __init__(self, models: Iterable[LoadedModel], metrics: Metrics | None = None) -> None:
        self._metrics = metrics
        # By name: the version that serves, and all of them by version, the serving one last.
        self._serving: dict[str, ServedModel] = {}
        self._versions: dict[str, dict[str, ServedModel]] = {}
        self._draining = False
        for loaded in models:
            self._add(loaded)
        if metrics is not None:
            metrics.add_source(self._families)

    @classmethod
    def open(
        cls, model_dir: Path, model_name: str, settings: ModelSettings | None = None, *, metrics: Metrics | None = None
    ) -> Self:
        """Load every model of a directory and warm it up. Blocking.

        A single bundle or plain model is called `model_name`; those of a repository are called by their directories.
        Raises NotFound, or InvalidInput with the file or tensor at fault.
        """
        chosen = settings or ModelSettings()
        return cls((load_model(place, chosen) for place in find(model_dir, model_name)), metrics)

    def submit(self, request: InferRequest, reply: Reply) -> None:
        """Take a request; answer through `reply` exactly once. Never raises, never blocks."""
        try:
            served = self._serving.get(request.model)
            expected = request.context.expect_bundle
            if served is None or request.version is not None or (expected is not None and expected != served.digest):
                served = self._find(request.model, request.version, expected)
            served.submit(request, reply)
        except PenstockError as error:
            reply.error(error)
        except Exception:
            log.exception("request failed", extra={"model": request.model, "request_id": request.context.request_id})
            reply.error(Internal("the request could not be taken"))

    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        """Raises NotFound for a model or version that is not here."""
        served = self._find(model, version, None)
        return served.metadata(tuple(self._versions[model]))

    def models(self) -> Sequence[str]:
        return list(self._serving)

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """Loaded means warm. Raises NotFound for an unknown model."""
        if model is not None:
            self._find(model, version, None)
        return bool(self._serving) and not self._draining

    async def bundle_file(self, model: str, file: str) -> bytes:
        """One small file of the serving bundle. Raises NotFound."""
        return await self._find(model, None, None).file(file)

    def loaded(self, model: str, version: str | None = None) -> LoadedModel:
        """What is known of a model. Raises NotFound."""
        return self._find(model, version, None).loaded

    async def drain(self) -> None:
        """Answer what was taken, take nothing more."""
        self._draining = True
        await asyncio.gather(*(served.drain() for served in self._all()))

    async def close(self) -> None:
        """Drain and release every model."""
        self._draining = True
        await asyncio.gather(*(served.close() for served in self._all()))

    def _all(self) -> list[ServedModel]:
        return [served for versions in self._versions.values() for served in versions.values()]

    def _add(self, loaded: LoadedModel) -> None:
        counters = self._metrics.model(loaded.model, loaded.label) if self._metrics else None
        versions = self._versions.setdefault(loaded.model, {})
        versions[loaded.version] = ServedModel(loaded, counters)
        ordered = dict(sorted(versions.items(), key=lambda item: version_order(item[0])))
        self._versions[loaded.model] = ordered
        self._serving[loaded.model] = ordered[next(reversed(ordered))]

    def _find(self, model: str, version: str | None, expected: str | None) -> ServedModel:
        versions = self._versions.get(model)
        if versions is None:
            raise NotFound(f"no model {model!r} here; there is {', '.join(self._serving) or 'none'}")
        if version is None:
            served = self._serving[model]
            if expected is not None:
                # Another version that is loaded too may be the one that is meant.
                served = next((other for other in versions.values() if other.digest == expected), served)
        elif version in versions:
            served = versions[version]
        else:
            raise NotFound(f"model {model!r} has no version {version!r}; it has {', '.join(versions)}")
        if expected is not None and served.digest != expected:
            raise WrongBundle(f"expected {expected}, this is {served.label}")
        return served

    def _families(self) -> Iterable[Metric]:
        """The cost profile as Prometheus gauges."""
        labels = ("model", "bundle", "rows")
        seconds = GaugeMetricFamily("penstock_run_cost_seconds", "Time of one run, measured at load.", labels=labels)
        memory = GaugeMetricFamily("penstock_run_cost_bytes", "Memory of one run, measured at load.", labels=labels)
        for served in self._all():
            for cost in served.loaded.profile.costs:
                values = (served.loaded.model, served.label, str(cost.rows))
                seconds.add_metric(values, cost.run_ms / 1e3)
                memory.add_metric(values, cost.memory_bytes)
        yield seconds
        yield memory

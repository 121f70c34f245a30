"""The predictor: a DataPlane over the models of one directory.

    submit -> model by name -> version and bundle expected -> plan -> batcher -> session -> reply

It knows tensors, not features. A caller that expects a bundle is answered by that bundle or refused with WrongBundle, never by
another one.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from prometheus_client.core import GaugeMetricFamily, Metric

from penstock.batcher import Pressure
from penstock.dataplane import Context, InferRequest, ModelMetadata, Reply
from penstock.errors import Internal, NotFound, NotReady, PenstockError, WrongBundle
from penstock.metrics import Metrics
from penstock_predictor.loading import LoadedModel, load_directory
from penstock_predictor.repository import version_order
from penstock_predictor.served import ServedModel
from penstock_predictor.settings import ModelSettings

log = logging.getLogger(__name__)


class Predictor:
    """Answers inference requests for the models it was given. Models are loaded on any thread; everything here is the loop's.

    `loading` turns false when the first models are in: before that an unknown name is NotReady, after it NotFound.
    """

    def __init__(self, metrics: Metrics | None = None) -> None:
        self.loading = True
        self.pressure = Pressure()
        self._metrics = metrics
        # By name: the version that serves, and all of them by version, the serving one last.
        self._serving: dict[str, ServedModel] = {}
        self._versions: dict[str, dict[str, ServedModel]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.draining = False
        if metrics is not None:
            metrics.add_source(self._families)
            metrics.add_source(self._depths, summed=True)

    @classmethod
    def open(
        cls, model_dir: Path, model_name: str, settings: ModelSettings | None = None, *, metrics: Metrics | None = None
    ) -> Self:
        """Load every model of a directory and warm it up. Blocking.

        A single bundle or plain model is called `model_name`; those of a repository are called by their directories.
        Raises NotFound, or InvalidInput with the file or tensor at fault.
        """
        predictor = cls(metrics)
        predictor.add(load_directory(model_dir, model_name, settings or ModelSettings()))
        return predictor

    def add(self, models: Iterable[LoadedModel]) -> None:
        """Serve these models from now on. One that takes another's place (same name and version) does so between two requests;
        what the other had taken it still answers, then its memory is released."""
        for loaded in models:
            counters = self._metrics.model(loaded.model, loaded.label) if self._metrics else None
            versions = dict(self._versions.get(loaded.model, {}))
            replaced = versions.get(loaded.version)
            versions[loaded.version] = ServedModel(loaded, counters, self.pressure)
            self._set_versions(loaded.model, versions)
            if replaced is not None:
                self._close_later(replaced)
        self.loading = False

    def replace(self, model: str, models: Iterable[LoadedModel], keep: Collection[str] = ()) -> None:
        """Serve these, all of one name, in place of every version that is there now but those to `keep`."""
        new = list(models)
        gone = set(self._versions.get(model, {})) - {loaded.version for loaded in new} - set(keep)
        self.add(new)
        kept = dict(self._versions.get(model, {}))
        for version in gone:
            self._close_later(kept.pop(version))
        self._set_versions(model, kept)

    def index(self) -> list[dict[str, Any]]:
        """Every version that is here, as the model repository extension lists them."""
        return [
            {"name": model, "version": version, "state": "READY", "bundle": served.label}
            for model, versions in self._versions.items()
            for version, served in versions.items()
        ]

    def remove(self, model: str, version: str | None = None) -> None:
        """Serve a model, or one version of it, no longer; what was taken is still answered. Raises NotFound."""
        self._find(model, version, None)
        kept = dict(self._versions[model])
        removed = [kept.pop(version)] if version is not None else [kept.pop(each) for each in list(kept)]
        self._set_versions(model, kept)
        for served in removed:
            self._close_later(served)

    def submit(self, request: InferRequest, reply: Reply) -> None:
        """Take a request; answer through `reply` exactly once. Never raises, never blocks."""
        served: ServedModel | None = None
        try:
            served = self._serving.get(request.model)
            expected = request.context.expect_bundle
            if served is None or request.version is not None or (expected is not None and expected != served.digest):
                served = self._find(request.model, request.version, expected)
            work = served.take(request, reply)
            if work.rows:
                served.queue(work)
            else:
                reply.put(served.nothing(request))
        except PenstockError as error:
            if served is not None:
                error.bundle = served.label
            reply.error(error)
        except Exception:
            log.exception("request failed", extra={"model": request.model, "request_id": request.context.request_id})
            reply.error(Internal("the request could not be taken"))

    def refusal(self, model: str, version: str | None, context: Context) -> PenstockError | None:
        """Why a request with this context would be refused for want of room or time, or None. Asked under `pressure` only."""
        served = self._serving.get(model)
        if served is None or version is not None or context.expect_bundle not in (None, served.digest):
            try:
                served = self._find(model, version, context.expect_bundle)
            except PenstockError:
                return None  # `submit` says it
        refusal = served.refusal(context)
        if refusal is not None:
            refusal.bundle = served.label
        return refusal

    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        """Raises NotFound for a model or version that is not here."""
        served = self._find(model, version, None)
        return served.metadata(tuple(self._versions[model]))

    def models(self) -> Sequence[str]:
        return list(self._serving)

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """Loaded means warm. Raises NotFound for an unknown model."""
        if self.loading or self.draining:
            return False
        if model is not None:
            self._find(model, version, None)
        return True

    async def bundle_file(self, model: str, file: str) -> bytes:
        """One small file of the serving bundle. Raises NotFound."""
        return self._find(model, None, None).file(file)

    def loaded(self, model: str, version: str | None = None) -> LoadedModel:
        """What is known of a model. Raises NotFound."""
        return self._find(model, version, None).loaded

    async def drain(self) -> None:
        """Answer what was taken, take nothing more."""
        self.draining = True
        await asyncio.gather(*(served.drain() for served in self._all()))

    async def close(self) -> None:
        """Drain and release every model."""
        self.draining = True
        await asyncio.gather(*(served.close() for served in self._all()), *self._closing)

    def _all(self) -> list[ServedModel]:
        return [served for versions in self._versions.values() for served in versions.values()]

    def _set_versions(self, model: str, versions: dict[str, ServedModel]) -> None:
        if versions:
            ordered = dict(sorted(versions.items(), key=lambda item: version_order(item[0])))
            self._versions[model] = ordered
            self._serving[model] = ordered[next(reversed(ordered))]
        else:
            self._versions.pop(model, None)
            self._serving.pop(model, None)

    def _close_later(self, served: ServedModel) -> None:
        task = asyncio.get_running_loop().create_task(served.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _find(self, model: str, version: str | None, expected: str | None) -> ServedModel:
        versions = self._versions.get(model)
        if versions is None:
            if self.loading:
                raise NotReady("the model is being loaded")
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

    def _depths(self) -> Iterable[Metric]:
        """Where requests and their bytes are, as Prometheus gauges that add up over workers."""
        labels = ("model", "bundle")
        families = [
            GaugeMetricFamily(f"penstock_{name}", text, labels=labels)
            for name, text in (
                ("queued_requests", "Requests that wait for a run."),
                ("queued_bytes", "Bytes of tensors of requests that wait for a run."),
                ("running_requests", "Requests in a run or waiting for its answers to be written."),
                ("running_bytes", "Bytes of their tensors."),
            )
        ]
        for served in self._all():
            for family, value in zip(families, served.depths(), strict=True):
                family.add_metric((served.loaded.model, served.label), value)
        return families

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

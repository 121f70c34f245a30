"""The transformer: what every way in calls, and a DataPlane itself.

    predict (rows) ---+
    submit (tensors) -+-> batcher -> Pipeline -> replies        submit (encoded: true) -> the bundle's predictor, as it is

It owns the route, the batcher and the connections; `start` returns when the first bundle is warm, `drain` when every request
taken has been answered.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import numpy as np
from prometheus_client.core import Metric

from penstock.batcher import Batcher, BatchMetrics, BatchPolicy, Pressure
from penstock.dataplane import Context, DataPlane, InferRequest, ModelMetadata, Reply
from penstock.errors import InvalidInput, NotFound, NotReady, PenstockError, WrongBundle
from penstock.features.spec import StoreLayout
from penstock.metrics import Metrics, labelled
from penstock.tensors import DATATYPES, Array
from penstock_transformer.active import ActiveBundle
from penstock_transformer.call import ConnectionEnded
from penstock_transformer.counters import Counters
from penstock_transformer.describing import describe
from penstock_transformer.evidence.families import evidence_families
from penstock_transformer.evidence.pairs import Pair
from penstock_transformer.evidence.passed import Passed
from penstock_transformer.passing import owned, pass_on
from penstock_transformer.pipeline import Pipeline
from penstock_transformer.plan import FetchPlan
from penstock_transformer.predictor_clients import PredictorClientFactory
from penstock_transformer.requests import PredictReply, PredictRequest, PredictResponse
from penstock_transformer.route.source import route_source
from penstock_transformer.route.status import RouteStatus
from penstock_transformer.route_families import route_families
from penstock_transformer.routing import choose
from penstock_transformer.routing_table import RouteTable
from penstock_transformer.settings import PipelineSettings
from penstock_transformer.shadowing import Shadows
from penstock_transformer.store.port import FeatureStore
from penstock_transformer.stores import Opener, Stores
from penstock_transformer.tensor_reply import TensorReply, columns_of
from penstock_transformer.work import PredictWork


class Transformer:
    """One model, whichever bundles answer for it. All methods on the event loop's thread."""

    def __init__(
        self,
        settings: PipelineSettings,
        *,
        predictor: DataPlane | None = None,
        opener: Opener | None = None,
        batch_metrics: BatchMetrics | None = None,
    ) -> None:
        self.settings = settings
        self.model = settings.model_name
        self.counters = Counters()
        self.table = RouteTable(self.counters)
        self.stores = Stores(opener)
        self._own_client = PredictorClientFactory(settings)
        self._tasks: set[asyncio.Task[None]] = set()
        self.status = RouteStatus(self.model, lag_s=settings.route_lag_s)
        host: str = getattr(settings, "predictor_host", "")
        self._source = route_source(
            settings,
            self.table,
            self.status,
            self.stores,
            self.counters,
            self._own_client.connect,
            inside=predictor,
            outside=(lambda: self._own_client.fixed(host)) if host else None,
            api=self._own_client.api,
        )
        self.pipeline = Pipeline(
            self.table, self.counters, call_timeout_s=settings.predictor_timeout_ms / 1e3, max_call_rows=settings.max_call_rows
        )
        self._batcher: Batcher[PredictWork, None] = Batcher(
            self._run, _delivered, _live_policy(settings), metrics=batch_metrics, coroutine=True
        )
        self.shadows = Shadows(self.pipeline, self.counters, _shadow_policy(settings), self.table.recorder)

    @classmethod
    def open(
        cls, settings: PipelineSettings, predictor: DataPlane | None = None, *, metrics: Metrics | None = None
    ) -> "Transformer":
        """A transformer by its settings; nothing is connected before `start`. `predictor`: one in this process, else by address.

        Raises InvalidInput for a store URL that names no known store.
        """
        opener = _opener(settings)
        transformer = cls(
            settings,
            predictor=predictor,
            opener=opener,
            batch_metrics=metrics.model(settings.model_name, "") if metrics is not None else None,
        )
        if metrics is not None:
            metrics.add_source(transformer.families)
        return transformer

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`: every family of this transformer, with its model."""
        return labelled(
            (*self.counters.families(), *route_families(self.table), *evidence_families(self.table.recorder)), model=self.model
        )

    async def start(self) -> None:
        """Return when the first route's bundles are warm, however long store and predictor take."""
        await self._source.start()

    async def drain(self) -> None:
        """Refuse new requests, and return when every one taken has been answered."""
        await self._batcher.drain()

    async def close(self) -> None:
        """Close connections and stores; call after `drain`."""
        await self._source.close()
        self._batcher.close()
        await self.shadows.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        route, self.table.route = self.table.route, None
        closing = [bundle.retire() for bundle in route.bundles] if route is not None else []
        await asyncio.gather(*(task for task in closing if task is not None), return_exceptions=True)
        await self._own_client.close()

    @property
    def revision(self) -> int:
        """The route revision that is applied, 0 without a route file or before the first."""
        return self.table.route.revision if self.table.route is not None else 0

    def plan(self, model: str) -> FetchPlan | None:
        """What rows of a model may hold, by the bundle that most requests go to; None for one without features.

        Raises NotFound for an unknown model, NotReady before its bundle is there.
        """
        return self._live(model).plan

    def store(self, model: str) -> FeatureStore | None:
        """The feature store of the bundle that most requests go to; None if it has none. Raises as `plan` does."""
        return self._live(model).store

    def predict(self, request: PredictRequest, reply: PredictReply) -> None:
        """Take a request; answer through `reply` exactly once. Never raises, never blocks."""
        if request.model != self.model:
            reply.error(self._unknown(request.model))
            return
        self._take(PredictWork(request, reply, heavy=self.table.heavy))

    def submit(self, request: InferRequest, reply: Reply) -> None:
        """Tensors of raw features by name; with parameter `encoded: true`, or without features, the model's own."""
        try:
            self._submit(request, reply)
        except PenstockError as error:
            reply.error(error)

    @property
    def pressure(self) -> Pressure:
        """Whether the queue refuses requests at present."""
        return self._batcher.pressure

    def share(self, pressure: Pressure) -> None:
        """Show it there from now on; before the first request."""
        self._batcher.pressure = pressure

    def refusal(self, model: str, version: str | None, context: Context) -> PenstockError | None:
        """Why a request with this context would be refused for want of room or time, or None: asked under pressure only."""
        del version
        route = self.table.route
        if model != self.model or route is None or route.live[0].bundle.plan is None:
            return None  # tensors that pass through wait in no queue here
        return self._batcher.refusal(context)

    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        """The raw features that callers send, and the model's outputs. Raises NotFound, NotReady."""
        self._check_model(model)
        return describe(self.model, self._live(model, version), self.table.route)

    def models(self) -> Sequence[str]:
        return (self.model,)

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        if model is not None:
            self._check_model(model)
        route = self.table.route
        if route is None:
            return False
        if version is not None and version not in {t.bundle.version for t in route.live}:
            raise NotFound(f"version {version} is not served")
        return True

    async def bundle_file(self, model: str, file: str) -> bytes:
        """A small file of the bundle that answers now. Raises NotFound."""
        self._check_model(model)
        bundle = self._live(model)
        return await bundle.predictor.bundle_file(bundle.predictor_model, file)

    def _submit(self, request: InferRequest, reply: Reply) -> None:
        self._check_model(request.model)
        probe = PredictRequest(request.model, request.context, version=request.version)
        encoded = (request.parameters or {}).get("encoded", False)
        if encoded is not False and encoded is not True:
            raise InvalidInput(f"expected true or false, got {encoded!r:.80}", field="parameters.encoded")
        route = self.table.route
        plan = choose(route, probe).plan if route is None or encoded or len(route.live) == 1 else route.live[0].bundle.plan
        if encoded or plan is None:
            bundle = choose(route, probe)
            pairs, window = None, None
            if route is not None and route.shadows:
                pairs, window = self.shadows.copy_passed(route, request, probe, encoded=bool(encoded))
            pass_on(request, reply, bundle, self._pass_again, passed=self._passed(request, probe, bundle, pairs, window))
            return
        probe.columns = columns_of(request, plan)
        self._take(PredictWork(probe, TensorReply(request, reply), tensors_only=True))

    def _take(self, work: PredictWork) -> None:
        if not work.rows:
            self._answer_nothing(work)
            return
        self._batcher.submit(work)

    def _run(self, works: list[PredictWork]) -> Coroutine[Any, Any, None]:
        route = self.table.route
        if route is not None and route.shadows:
            self.shadows.copy(route, works)
        return self.pipeline.run(works)

    def _answer_nothing(self, work: PredictWork) -> None:
        try:
            bundle = choose(self.table.route, work.request)
        except PenstockError as error:
            work.error(error)
            return
        work.put(PredictResponse(work.request.model, bundle.label, [], empty_outputs(bundle), version=bundle.version))

    def _pass_again(self, request: InferRequest, reply: Reply, bundle: ActiveBundle, error: PenstockError) -> None:
        if isinstance(error, WrongBundle):
            owned(self._tasks, asyncio.ensure_future(self._passed_again(request, reply, bundle, error)))
            return
        probe = PredictRequest(request.model, request.context, version=request.version)
        found = self.table.instead(bundle, probe)
        if found is None:
            reply.error(error)
            return
        self.counters.moved_requests += 1
        if (sums := self.table.recorder.live.get(bundle)) is not None:
            sums.moved += 1
        ended = isinstance(error, ConnectionEnded)
        pass_on(request, reply, found, None, ended=ended, passed=self._passed(request, probe, found))

    async def _passed_again(self, request: InferRequest, reply: Reply, bundle: ActiveBundle, error: WrongBundle) -> None:
        try:
            self.counters.refused_calls += 1
            found = await self.table.refused(bundle, error)
            expected = request.context.expect_bundle is not None
            probe = PredictRequest(request.model, request.context, version=request.version)
            if found is None or expected or request.version not in (None, found.version):
                found = choose(self.table.route, probe)
            pass_on(request, reply, found, None, passed=self._passed(request, probe, found))
        except PenstockError as failure:
            reply.error(failure)

    def _passed(
        self,
        request: InferRequest,
        probe: PredictRequest,
        bundle: ActiveBundle,
        pairs: list[Pair] | None = None,
        window: int | None = None,
    ) -> Passed | None:
        """What counts a request that passes through; None for one that names what answers it."""
        sums = self.table.recorder.live.get(bundle)
        if sums is None or request.context.expect_bundle is not None or request.version is not None:
            return None
        return Passed(sums, request, probe, pairs, window)

    def _live(self, model: str, version: str | None = None) -> ActiveBundle:
        self._check_model(model)
        route = self.table.route
        if route is None:
            raise NotReady("no bundle is loaded yet")
        live = [t for t in route.live if version is None or t.bundle.version == version]
        if not live:
            raise NotFound(f"version {version} of {model} is not served")
        return max(live, key=lambda t: t.weight).bundle

    def _check_model(self, model: str) -> None:
        if model != self.model:
            raise self._unknown(model)

    def _unknown(self, model: str) -> NotFound:
        return NotFound(f"no model {model[:200]!r}; expected {self.model!r}")


def empty_outputs(bundle: ActiveBundle) -> dict[str, Array]:
    """The outputs of no rows at all, in the model's own types."""
    outputs = bundle.manifest.model.outputs
    return {t.name: np.empty((0, *(max(d, 0) for d in t.shape[1:])), DATATYPES[t.datatype].dtype) for t in outputs}


def _opener(settings: PipelineSettings) -> Opener | None:
    if settings.feature_store is None:
        return None
    from penstock_transformer.store.opening import open_store
    from penstock_transformer.store.settings import StoreSettings

    url = settings.feature_store
    store_settings = StoreSettings(timeout_s=settings.store_timeout_ms / 1e3)
    open_store(url, StoreLayout("", 3, {}), store_settings)

    def opener(layout: StoreLayout) -> FeatureStore:
        return open_store(url, layout, store_settings)

    return opener


def _live_policy(settings: PipelineSettings) -> BatchPolicy:
    return BatchPolicy(
        max_rows=settings.max_batch_rows,
        max_in_flight=settings.batches_in_flight,
        max_queue_items=settings.max_queue_items,
        max_queue_bytes=settings.max_queue_mb * 2**20,
        max_delay_ms=settings.max_delay_ms,
        follow_delay_ms=settings.follow_delay_ms,
    )


def _shadow_policy(settings: PipelineSettings) -> BatchPolicy:
    return BatchPolicy(
        max_rows=settings.max_batch_rows,
        max_in_flight=1,
        max_queue_items=settings.shadow_queue_items,
        max_queue_bytes=settings.shadow_queue_mb * 2**20,
    )


def _delivered(_works: list[PredictWork], _result: Any) -> None:
    return

"""A bundle with stored features, a predictor that sums its tensor, and a store in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest
from penstock.errors import PenstockError
from penstock.features.spec import StoreLayout
from penstock.tensors import Tensor
from penstock.testing.bundles import TRIPS, FakePredictor, bundle_files
from penstock_transformer.active import ActiveBundle
from penstock_transformer.memory_store import MemoryStore
from penstock_transformer.requests import PredictRequest, PredictResponse
from penstock_transformer.routing import Route, Target
from penstock_transformer.settings import PipelineSettings
from penstock_transformer.store.port import RowWrite
from penstock_transformer.transformer import Transformer


class Answers:
    """A `PredictReply` that an await waits on."""

    def __init__(self) -> None:
        self.future: asyncio.Future[PredictResponse] = asyncio.get_running_loop().create_future()
        self.disconnected = False
        self.count = 0

    def put(self, response: PredictResponse) -> None:
        self.count += 1
        if not self.future.done():
            self.future.set_result(response)

    def error(self, error: PenstockError) -> None:
        self.count += 1
        if not self.future.done():
            self.future.set_exception(error)


class Bench:
    """A transformer with everything around it in this process."""

    def __init__(self, transformer: Transformer, predictor: FakePredictor, store: MemoryStore) -> None:
        self.transformer = transformer
        self.predictor = predictor
        self.store = store

    def send(self, rows: Any = None, **given: Any) -> Answers:
        """Submit a request; `rows`, or `columns=`, `record_id=`; the rest goes to the context."""
        made = {k: given.pop(k) for k in ("columns", "record_id", "options", "version", "model") if k in given}
        model = made.pop("model", "flights")
        reply = Answers()
        self.transformer.predict(PredictRequest(model, Context("r", **given), rows=rows, **made), reply)
        return reply

    async def ask(self, rows: Any = None, **given: Any) -> PredictResponse:
        return await self.send(rows, **given).future

    async def fails(self, error: type[PenstockError], rows: Any = None, **given: Any) -> PenstockError:
        with pytest.raises(error) as caught:
            await self.ask(rows, **given)
        return caught.value

    async def put(self, view: str, key: Any, age_s: float = 0.0, **values: Any) -> None:
        await self.store.write([RowWrite(view, (key,), values, time.time() - age_s)])

    # --- shadows

    @staticmethod
    def encoded(rows: int = 1, context: dict[str, Any] | None = None, value: float = 1.0, **parameters: Any) -> InferRequest:
        """A request with a tensor that passes through; float32 [rows, 3], all of one value."""
        tensor = Tensor.from_array("x", np.full((rows, 3), value, np.float32))
        given = Context("r", traceparent="00-a-b-01", **(context or {}))
        return InferRequest("flights", [tensor], given, parameters={"encoded": True, **parameters})

    def shadow(self, fraction: float = 1.0, *, whole: bool = False) -> FakePredictor:
        """A shadow bundle behind a predictor of its own, in the route; `whole`: with features, as the live one."""
        live = self.transformer.table.route.live[0].bundle
        predictor = FakePredictor(self.predictor.files)
        features: dict[str, Any] = {"plan": live.plan, "encoder": live.encoder, "store": live.store} if whole else {}
        bundle = ActiveBundle(live.manifest, predictor.digest, predictor, "flights", **features)
        self.transformer.table.apply(Route(1, (Target(live),), (Target(bundle, fraction=fraction),)))
        return predictor

    def counted(self) -> tuple[Any, Any]:
        """What is counted of requests, and of copies."""
        by_mode = {entry.shadow: entry for entry in self.transformer.table.recorder.entries() if entry.revision == 1}
        return by_mode[False], by_mode[True]

    async def copied(self, copies: int) -> None:
        """All of these copies are counted."""
        while self.counted()[1].requests < copies:  # noqa: ASYNC110 what is waited for is on this loop; the test has a deadline
            await asyncio.sleep(0.001)

    @staticmethod
    async def called(predictor: FakePredictor, calls: int) -> None:
        """The predictor has got so many calls, and what follows from that on the loop is done."""
        while len(predictor.calls) < calls:
            predictor.called.clear()
            await predictor.called.wait()
        for _ in range(3):
            await asyncio.sleep(0)


MakeBench = Callable[..., Awaitable[Bench]]


@pytest.fixture(scope="session")
def features() -> str:
    return TRIPS


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    return bundle_files(TRIPS)


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a test's coroutine; a time-out in it is a failure, not a hang."""

    def runner(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(30):
                return await coroutine

        return asyncio.run(bounded())

    return runner


@pytest.fixture
def bench(files: dict[str, bytes]) -> Callable[..., Any]:
    """`async with bench() as b`: started, with plane N1 (seats 150, weight 2.5) and trip 7 (distance 10, N1) stored."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def made(own: dict[str, bytes] | None = None, *, store: bool = True, **settings: Any) -> AsyncIterator[Bench]:
        stores: list[MemoryStore] = []

        def opener(layout: Any) -> MemoryStore:
            stores.append(MemoryStore(layout))
            return stores[-1]

        predictor = FakePredictor(files if own is None else own)
        transformer = Transformer(
            PipelineSettings(model_name="flights", **settings), predictor=predictor, opener=opener if store else None
        )
        await transformer.start()
        found = Bench(transformer, predictor, stores[0] if stores else MemoryStore(StoreLayout("none", 3, {})))
        if stores and "planes" in stores[0]._rows:
            await found.put("planes", "N1", seats=150, weight=2.5)
            await found.put("trips", 7, distance=10.0, tailnum="N1", note="early")
        try:
            yield found
        finally:
            await transformer.drain()
            await transformer.close()

    return made

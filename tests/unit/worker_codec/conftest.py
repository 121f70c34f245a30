"""Records as a topic holds them, and a transformer of one bundle in this process for them to go through."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock.features.spec import StoreLayout
from penstock.testing.bundles import FakePredictor, bundle_files
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.memory_store import MemoryStore
from penstock_transformer.settings import PipelineSettings
from penstock_transformer.store.port import RowWrite
from penstock_transformer.transformer import Transformer
from penstock_transformer.worker.outcomes import Outcome
from penstock_transformer.worker.predicting import TransformerPredicting

FEATURES = """
formatVersion: 1
sets:
  planes: {view: planes, keys: {tailnum: tailnum}}
features:
  - {name: distance, from: request, type: float32, missing: reject, encode: passthrough}
  - {name: weight, from: planes.weight, type: float32, missing: reject, encode: passthrough}
tensors: {x: [distance, weight]}
store:
  project: test
  keySerialization: 3
  views:
    planes: {keys: {tailnum: string}, values: {weight: double}}
"""
GIVEN_UP_S = 30


def record_of(
    value: bytes | None = b'{"rows":[{"distance":1,"tailnum":"N1"}]}',
    *headers: tuple[str, bytes],
    offset: int = 7,
    number: int = 3,
    key: bytes | None = b"k",
    timestamp_ms: int | None = None,
) -> Record:
    """A record of `flights.requests`, made now."""
    at = int(time.time() * 1e3) if timestamp_ms is None else timestamp_ms
    return Record(Partition("flights.requests", number), offset, at, key, value, headers)


@pytest.fixture(scope="session")
def record() -> Callable[..., Record]:
    return record_of


class Desk:
    """Predicting over a transformer, and everything around it."""

    def __init__(
        self, predicting: TransformerPredicting, transformer: Transformer, predictor: FakePredictor, store: MemoryStore
    ) -> None:
        self.predicting = predicting
        self.transformer = transformer
        self.predictor = predictor
        self.store = store
        self.calls = 0

    async def outcomes(self, *records: Record) -> list[Outcome]:
        """What became of each, in the order given."""
        found: dict[int, Outcome] = {}
        done = asyncio.Event()

        def put(record: Record, outcome: Outcome) -> None:
            self.calls += 1
            found[id(record)] = outcome
            if len(found) == len(records):
                done.set()

        self.predicting.submit(records, put)
        await done.wait()
        return [found[id(record)] for record in records]

    async def outcome(self, record: Record) -> Outcome:
        (found,) = await self.outcomes(record)
        return found


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a test's coroutine; a time-out in it is a failure, not a hang."""

    def runner(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(GIVEN_UP_S):
                return await coroutine

        return asyncio.run(bounded())

    return runner


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    return bundle_files(FEATURES)


@pytest.fixture
def desk(files: dict[str, bytes]) -> Callable[..., Any]:
    """`async with desk() as d`: started, with plane N1 of weight 2.5 stored."""

    @asynccontextmanager
    async def made(
        *, fetch: Any = None, settings: dict[str, Any] | None = None, own: dict[str, bytes] | None = None
    ) -> AsyncIterator[Desk]:
        stores: list[MemoryStore] = []

        def opener(layout: Any) -> MemoryStore:
            stores.append(MemoryStore(layout))
            return stores[-1]

        predictor = FakePredictor(files if own is None else own)
        transformer = Transformer(PipelineSettings(model_name="flights", **(settings or {})), predictor=predictor, opener=opener)
        await transformer.start()
        if stores:
            await stores[0].write([RowWrite("planes", ("N1",), {"weight": 2.5}, time.time())])
        predicting = TransformerPredicting(
            transformer, "flights", predictions="flights.predictions", dead_letters="flights.dead-letters", fetch=fetch
        )
        try:
            yield Desk(predicting, transformer, predictor, stores[0] if stores else MemoryStore(StoreLayout("none", 3, {})))
        finally:
            await predicting.close()
            await transformer.drain()
            await transformer.close()

    return made


@pytest.fixture(scope="session")
def header() -> Callable[[OutRecord, str], bytes | None]:
    """The last header of that name."""
    return lambda record, name: dict(record.headers).get(name)

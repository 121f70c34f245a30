"""Several transformers as one: what serves more than one model in a process.

    request -> the transformer of its model

Only the name of the model decides; everything else is that transformer's own.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from penstock.batcher import Pressure
from penstock.dataplane import Context, DataPlane, InferRequest, ModelMetadata, Reply
from penstock.errors import NotFound, PenstockError
from penstock_transformer.http.plane import PredictPlane
from penstock_transformer.plan import FetchPlan
from penstock_transformer.requests import PredictReply, PredictRequest
from penstock_transformer.store.port import FeatureStore


class TransformerPlane(PredictPlane, DataPlane, Protocol):
    """A transformer with its start and end, and what it shows of its queue (`penstock.serving.early`)."""

    @property
    def pressure(self) -> Pressure: ...

    def share(self, pressure: Pressure) -> None: ...

    def refusal(self, model: str, version: str | None, context: Context) -> PenstockError | None: ...

    async def start(self) -> None: ...

    async def drain(self) -> None: ...

    async def close(self) -> None: ...


class Transformers:
    """One transformer a model, by name. Implements `TransformerPlane` itself."""

    def __init__(self, by_model: dict[str, TransformerPlane]) -> None:
        self._by_model = by_model
        self.pressure = Pressure()
        self.share(self.pressure)

    def share(self, pressure: Pressure) -> None:
        """Show the queues' refusals here from now on."""
        self.pressure = pressure
        for one in self._by_model.values():
            one.share(pressure)

    def refusal(self, model: str, version: str | None, context: Context) -> PenstockError | None:
        """Why a request with this context would be refused for want of room or time, or None."""
        one = self._by_model.get(model)
        return None if one is None else one.refusal(model, version, context)

    async def start(self) -> None:
        """Return when every one is warm."""
        await asyncio.gather(*(one.start() for one in self._by_model.values()))

    async def drain(self) -> None:
        """Return when every one has answered what it took."""
        await asyncio.gather(*(one.drain() for one in self._by_model.values()))

    async def close(self) -> None:
        """Close every one."""
        await asyncio.gather(*(one.close() for one in self._by_model.values()))

    def predict(self, request: PredictRequest, reply: PredictReply) -> None:
        one = self._by_model.get(request.model)
        if one is None:
            reply.error(self._unknown(request.model))
        else:
            one.predict(request, reply)

    def submit(self, request: InferRequest, reply: Reply) -> None:
        one = self._by_model.get(request.model)
        if one is None:
            reply.error(self._unknown(request.model))
        else:
            one.submit(request, reply)

    def models(self) -> Sequence[str]:
        return list(self._by_model)

    def plan(self, model: str) -> FetchPlan | None:
        return self._find(model).plan(model)

    def store(self, model: str) -> FeatureStore | None:
        return self._find(model).store(model)

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        if model is not None:
            return self._find(model).ready(model, version)
        return all(one.ready() for one in self._by_model.values())

    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        return await self._find(model).metadata(model, version)

    async def bundle_file(self, model: str, file: str) -> bytes:
        return await self._find(model).bundle_file(model, file)

    def _find(self, model: str) -> TransformerPlane:
        one = self._by_model.get(model)
        if one is None:
            raise self._unknown(model)
        return one

    def _unknown(self, model: str) -> NotFound:
        return NotFound(f"no model {model[:200]!r}; expected one of {', '.join(sorted(self._by_model))}", field="model")

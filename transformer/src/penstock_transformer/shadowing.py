"""Shadows: bundles that get copies of requests, whose failure or slowness never reaches a caller.

request --copy--> bounded queue --one batch at a time--> the same pipeline --> counted, thrown away
"""

from penstock.batcher import Batcher, BatchPolicy
from penstock.dataplane import Context
from penstock.errors import Overloaded, PenstockError
from penstock_transformer.active import ActiveBundle
from penstock_transformer.counters import Counters
from penstock_transformer.pipeline import Pipeline
from penstock_transformer.requests import PredictRequest, PredictResponse
from penstock_transformer.work import PredictWork


class ShadowReply:
    """Where a shadow's answer goes: nowhere; failures are counted."""

    __slots__ = ("_counters",)

    disconnected = False

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def put(self, _response: PredictResponse) -> None:
        return

    def error(self, error: PenstockError) -> None:
        if isinstance(error, Overloaded):
            self._counters.shadow_dropped += 1
        else:
            self._counters.shadow_errors += 1


class Shadows:
    """The queue of copies. It is the pipeline's own, so that copies share nothing with live requests but the processor."""

    def __init__(self, pipeline: Pipeline, counters: Counters, policy: BatchPolicy) -> None:
        self._counters = counters
        self._batcher: Batcher[PredictWork, None] = Batcher(pipeline.run, _delivered, policy, coroutine=True)

    def copy(self, request: PredictRequest, bundle: ActiveBundle) -> None:
        """Send a copy of a request to a shadow bundle, if there is room."""
        self._counters.shadow_copies += 1
        given = request.context
        copied = PredictRequest(
            request.model,
            Context(f"{given.request_id}-shadow", traceparent=given.traceparent),
            rows=request.rows,
            columns=request.columns,
            record_id=request.record_id,
        )
        self._batcher.submit(PredictWork(copied, ShadowReply(self._counters), tensors_only=True, bundle=bundle))

    async def close(self) -> None:
        """Drop what waits; a copy is not worth waiting for."""
        self._batcher.close()


def _delivered(_works: list[PredictWork], _result: None) -> None:
    return

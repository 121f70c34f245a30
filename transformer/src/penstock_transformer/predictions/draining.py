"""The predictions table drained by this very process: a worker a model, as those that read Kafka, over the table's queue.

    store.claim -> TableQueue.intake -> WorkerShell, Machine -> TransformerPredicting -> TableQueue.outlet -> store.end

Invariant: what was claimed is ended, given back, or, if this process dies, claimed by another once the lease is over.
"""

import asyncio
import logging
from collections.abc import Mapping

from penstock.errors import PenstockError
from penstock_transformer.predictions.claim_check import ClaimCheck
from penstock_transformer.predictions.object_names import Kind
from penstock_transformer.predictions.opening import Store
from penstock_transformer.predictions.queue import TableQueue
from penstock_transformer.predictions.resource import Payload
from penstock_transformer.worker.policy import Policy
from penstock_transformer.worker.predicting import Fetch, Pipeline, TransformerPredicting
from penstock_transformer.worker.shell import WorkerShell

logger = logging.getLogger(__name__)

# Far less than the pipeline's own queue holds: who waits for an answer comes in between.
POLICY = Policy(held_records=512, held_bytes=64 * 2**20)
GRACE_S = 15.0
PAUSE_S = 1.0

Pipelines = Mapping[str, Pipeline]


class Drain:
    """Drains the queues of these models into their store. On the event loop's thread."""

    def __init__(self, store: Store, pipelines: Pipelines, claims: ClaimCheck, fetch: Fetch | None) -> None:
        self._store = store
        self._pipelines = pipelines
        self._claims = claims
        self._fetch = fetch
        self._stopping = False
        self._shells: dict[str, WorkerShell] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, a worker a model."""
        self._tasks = [asyncio.create_task(self._keep(model, pipeline)) for model, pipeline in self._pipelines.items()]

    async def stop(self) -> None:
        """Claim nothing more; what is in flight is finished, or given back, when this returns."""
        self._stopping = True
        await asyncio.gather(*(shell.drain(GRACE_S) for shell in self._shells.values()))
        for task in self._tasks:
            # One between two workers has nothing in flight.
            if not self._shells:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, model: str, pipeline: Pipeline) -> None:
        """A worker of this model, made anew should it end by itself."""
        while not self._stopping:
            try:
                await self._work(model, pipeline)
            except Exception as error:
                known = isinstance(error, PenstockError)
                logger.error(
                    "queue is not drained", exc_info=None if known else error, extra={"model": model, "reason": str(error)}
                )
            if not self._stopping:
                await asyncio.sleep(PAUSE_S)

    async def _work(self, model: str, pipeline: Pipeline) -> None:
        queue = TableQueue(self._store, model, asyncio.get_running_loop(), pack=self._pack)
        predicting = TransformerPredicting(
            pipeline, model, predictions=f"{model}.predictions", dead_letters=f"{model}.dead-letters", fetch=self._fetch
        )
        shell = WorkerShell(queue.intake(), queue.outlet(), predicting, [queue.topic], policy=POLICY)
        self._shells[model] = shell
        try:
            await shell.start()
            await shell.stopped
        finally:
            del self._shells[model]
            await shell.close()
            await predicting.close()

    async def _pack(self, prediction_id: str, payload: Payload) -> Payload:
        if payload.body is None:
            return payload
        return await self._claims.pack(prediction_id, Kind.RESULT, payload.body, payload.headers)

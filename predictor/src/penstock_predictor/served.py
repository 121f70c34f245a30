"""A loaded model behind its batcher: takes requests, answers them, says what it is. Used on the event loop's thread."""

import asyncio
from typing import Any

import numpy as np

from penstock.batcher import Batcher, BatchMetrics, Pressure
from penstock.dataplane import InferRequest, InferResponse, ModelMetadata
from penstock.errors import NotFound
from penstock.onnx import Session
from penstock.onnx.staging import Staging
from penstock.tensors import DATATYPES, Tensor
from penstock_predictor.axes import Sharing
from penstock_predictor.instances import Instances
from penstock_predictor.loading import LoadedModel
from penstock_predictor.repository import MANIFEST
from penstock_predictor.runner import Outcome, Runner
from penstock_predictor.work import Plans, Work


class ServedModel:
    """One version of one model, with its own queue."""

    def __init__(self, loaded: LoadedModel, metrics: BatchMetrics | None = None, pressure: Pressure | None = None) -> None:
        self.loaded = loaded
        self.version = loaded.version
        self.digest = loaded.digest
        self.label = loaded.label
        self._plans = Plans(loaded.session.inputs, loaded.session.outputs, loaded.rule, loaded.label)
        self._runners = [_runner(loaded, session) for session in loaded.sessions or (loaded.session,)]
        first = self._runners[0]
        self._instances = Instances(self._runners) if len(self._runners) > 1 else None
        self._batcher: Batcher[Work, Outcome] = Batcher(
            first.run if self._instances is None else self._instances.run,
            first.deliver,
            loaded.policy,
            metrics=metrics,
            coroutine=self._instances is not None,
            pressure=pressure,
        )
        # The two steps of a request, straight: a layer of calls costs what decoding a small tensor does. `take` raises
        # InvalidInput; everything after it goes to the reply.
        self.take = self._plans.take
        self.queue = self._batcher.submit
        self.refusal = self._batcher.refusal

    def depths(self) -> tuple[int, int, int, int]:
        """Requests and bytes that wait, requests and bytes that are in a run."""
        running = [work for runner in self._runners for work in runner.running]
        return self._batcher.queued_items, self._batcher.queued_bytes, len(running), sum([work.nbytes for work in running])

    def nothing(self, request: InferRequest) -> InferResponse:
        """The answer to no rows: outputs of no rows, without a run (operators differ in what they make of none)."""
        outputs = self.loaded.session.outputs
        wanted = [output.name for output in request.outputs] if request.outputs else [output.name for output in outputs]
        by_name = {output.name: output for output in outputs}
        tensors = []
        for name in wanted:
            shape = (0, *(0 if axis == -1 else axis for axis in by_name[name].shape[1:]))
            tensors.append(Tensor.from_array(name, np.empty(shape, DATATYPES[by_name[name].datatype].dtype)))
        return InferResponse(request.model, tensors, bundle=self.label, version=self.version)

    def metadata(self, versions: tuple[str, ...]) -> ModelMetadata:
        """What the model takes and gives, and what was found out about it at load."""
        loaded = self.loaded
        return ModelMetadata(
            name=loaded.model,
            versions=versions,
            platform="onnxruntime_onnx",
            inputs=loaded.session.inputs,
            outputs=loaded.session.outputs,
            bundle=self.label,
            properties=self._properties(),
        )

    def _properties(self) -> dict[str, Any]:
        loaded = self.loaded
        found: dict[str, Any] = {
            "batching": {
                "sharing": loaded.rule.sharing.value,
                "reason": loaded.rule.reason,
                "max_rows": loaded.policy.max_rows,
                "inline_rows": loaded.policy.inline_rows,
            },
            "profile": loaded.profile.as_json(),
            "providers": list(loaded.session.providers),
            "threads": loaded.session.threads,
            "instances": len(self._runners),
        }
        if loaded.manifest.card:
            found["card"] = loaded.manifest.card
        if loaded.session.skipped_outputs:
            found["skipped_outputs"] = list(loaded.session.skipped_outputs)
        return found

    def file(self, name: str) -> bytes:
        """One small file of the bundle. Raises NotFound for a file that it lacks, and for the model, which is never given out."""
        loaded = self.loaded
        if name == MANIFEST:
            return loaded.manifest_bytes
        if loaded.bundle is None or name not in loaded.bundle.small_files():
            raise NotFound(f"the bundle {self.label} gives out no file {name!r}")
        # Small files are held in memory since they were verified.
        return loaded.bundle.read(name)

    async def drain(self) -> None:
        """Wait until everything taken has been answered; nothing more is taken."""
        await self._batcher.drain()

    async def close(self) -> None:
        """Drain, then release the model's memory."""
        await self._batcher.drain()
        self._batcher.close()
        if self._instances is not None:
            self._instances.close()
        # Freeing gigabytes takes time, which the other models' requests would wait.
        await asyncio.to_thread(self.loaded.close)


def _runner(loaded: LoadedModel, session: Session) -> Runner:
    staging = Staging(session, by_rows=loaded.rule.sharing is not Sharing.ALONE) if loaded.staged else None
    return Runner(
        session,
        loaded.rule,
        max(loaded.policy.max_rows, loaded.profile.best_rows()),
        model=loaded.model,
        version=loaded.version,
        bundle=loaded.label,
        one_row=loaded.one_row,
        staging=staging,
    )

"""An in-memory DataPlane that behaves like a predictor, without a model: it answers each input as an output of the same name.

It batches as a predictor does, so that what a shell sees of it (answers later, in batches, refusals, a drain) is the real thing.
"""

import asyncio
from collections.abc import Sequence

from penstock.batcher import Batcher, BatchMetrics, BatchPolicy
from penstock.dataplane import Context, InferRequest, InferResponse, ModelMetadata, Reply, TensorMetadata
from penstock.errors import InvalidInput, NotFound, NotReady, PenstockError

BUNDLE = "echo@sha256:" + "0" * 64


class EchoWork:
    """One request as the batcher sees it."""

    __slots__ = ("context", "key", "nbytes", "reply", "request", "rows")

    def __init__(self, request: InferRequest, reply: Reply) -> None:
        first = request.inputs[0]
        self.request = request
        self.reply = reply
        self.context: Context = request.context
        self.rows = first.shape[0] if first.shape else 1
        self.nbytes = sum(tensor.nbytes for tensor in request.inputs)
        self.key = "echo"

    @property
    def disconnected(self) -> bool:
        return self.reply.disconnected

    def error(self, error: PenstockError) -> None:
        self.reply.error(error)


class EchoPlane:
    """Echoes. An input named `fail` makes its own request fail; `delay` (FP32 `[1]`, seconds) makes its answer late.

    `hold()` keeps all answers back until `release()`.
    """

    def __init__(
        self,
        models: Sequence[str] = ("echo",),
        *,
        policy: BatchPolicy | None = None,
        metrics: BatchMetrics | None = None,
        files: dict[str, bytes] | None = None,
    ) -> None:
        self._models = tuple(models)
        self._files = files or {}
        self._batcher: Batcher[EchoWork, list[InferResponse]] = Batcher(
            self._compute, self._deliver, policy or BatchPolicy(inline_rows=1 << 20), metrics=metrics
        )
        self._held: list[tuple[InferRequest, Reply]] | None = None
        self.is_ready = True
        self.submitted = 0

    def submit(self, request: InferRequest, reply: Reply) -> None:
        self.submitted += 1
        error = self._refusal(request)
        if error is not None:
            reply.error(error)
        elif self._held is not None:
            self._held.append((request, reply))
        elif request.inputs[0].name == "delay":
            loop = asyncio.get_running_loop()
            loop.call_later(float(request.inputs[0].array.ravel()[0]), self._batcher.submit, EchoWork(request, reply))
        else:
            self._batcher.submit(EchoWork(request, reply))

    def _refusal(self, request: InferRequest) -> PenstockError | None:
        if not self.is_ready:
            return NotReady(f"model {request.model} is not ready")
        if request.model not in self._models:
            return NotFound(f"no model {request.model!r}; expected one of {', '.join(self._models)}")
        if request.version not in (None, "1"):
            return NotFound(f"no version {request.version!r} of {request.model}; expected 1")
        if not request.inputs:
            return InvalidInput("expected at least one input", field="inputs")
        if request.inputs[0].name == "fail":
            return InvalidInput("asked to fail", field="inputs[0]")
        return None

    def _compute(self, works: list[EchoWork]) -> list[InferResponse]:
        return [InferResponse(work.request.model, work.request.inputs, bundle=BUNDLE, version="1") for work in works]

    def _deliver(self, works: list[EchoWork], responses: list[InferResponse]) -> None:
        for work, response in zip(works, responses, strict=True):
            work.reply.put(response)

    def hold(self) -> None:
        self._held = []

    def release(self) -> None:
        held, self._held = self._held or [], None
        for request, reply in held:
            self._batcher.submit(EchoWork(request, reply))

    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        self._check(model, version)
        signature = (TensorMetadata("x", "FP32", (-1, -1)),)
        return ModelMetadata(model, ("1",), "penstock_echo", signature, signature, bundle=BUNDLE)

    def models(self) -> Sequence[str]:
        return self._models

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        if model is not None:
            self._check(model, version)
        return self.is_ready

    async def bundle_file(self, model: str, file: str) -> bytes:
        self._check(model, None)
        if file not in self._files:
            raise NotFound(f"no file {file!r} in the bundle of {model}")
        return self._files[file]

    async def drain(self) -> None:
        await self._batcher.drain()

    def _check(self, model: str, version: str | None) -> None:
        if model not in self._models:
            raise NotFound(f"no model {model!r}; expected one of {', '.join(self._models)}")
        if version not in (None, "1"):
            raise NotFound(f"no version {version!r} of {model}; expected 1")

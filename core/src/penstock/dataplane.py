"""The DataPlane: whatever answers inference requests, seen from whatever carries them.

    REST, gRPC, WebSocket, Kafka --(InferRequest, Reply)--> DataPlane --(Reply.put | Reply.error)--> the same way back

The predictor is a DataPlane, the transformer is one, both in one process are one, and so is a predictor over the network. A
shell translates between a wire and these types and decides nothing; a DataPlane never learns which wire a request came by.

`submit` is the one entry: synchronous, never blocking, never raising; it answers exactly once through the reply, now or later.
`infer` is the same for those who would rather await.

What is made for every request is a msgspec Struct: made in a fifth of the time that a class with slots takes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from penstock.errors import PenstockError
from penstock.tensors import Tensor

Answer = TypeVar("Answer")


class Context(msgspec.Struct, eq=False):
    """What travels beside a request's data, whichever way it came in.

    `deadline` is in seconds of `time.monotonic()`, None for no deadline. `priority`: lower is sooner, 0 is normal.
    `route_key` is the caller's `Penstock-Route-Key`; `expect_bundle` the digest (`sha256:…`) that alone may answer.
    """

    request_id: str
    deadline: float | None = None
    priority: int = 0
    traceparent: str | None = None
    route_key: str | None = None
    expect_bundle: str | None = None


@dataclass(slots=True)
class RequestedOutput:
    """An output the caller asked for by name; `binary` None leaves the form to the request's default."""

    name: str
    binary: bool | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


class InferRequest(msgspec.Struct, eq=False):
    """One caller's inference request. `outputs` None asks for all; `version` None for the one that serves.

    `binary_output` is the form of every output that does not say its own; it and `RequestedOutput.binary` are the codec's alone.
    `outputs` and `parameters` may be shared between requests: read-only.
    """

    model: str
    inputs: list[Tensor]
    context: Context
    version: str | None = None
    id: str | None = None
    outputs: list[RequestedOutput] | None = None
    parameters: dict[str, Any] | None = None
    binary_output: bool = False


class InferResponse(msgspec.Struct, eq=False):
    """The answer to one request: its own rows, in the order it sent them. `bundle` is `name@sha256:…`."""

    model: str
    outputs: list[Tensor]
    bundle: str
    version: str | None = None
    parameters: dict[str, Any] | None = None


class Reply(Protocol):
    """Where one answer goes. Exactly one of `put` and `error` is called, once, on the event loop's thread.

    `disconnected` turns true when nobody waits any more; work not begun is then dropped (and still answered, with Cancelled).
    """

    @property
    def disconnected(self) -> bool: ...

    def put(self, response: InferResponse) -> None: ...

    def error(self, error: PenstockError) -> None: ...


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """A model's input or output: `shape` with -1 for an axis that varies."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What `GET /v2/models/{m}` shows. `properties` holds the card, the cost profile and the like, as JSON values."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    bundle: str = ""
    properties: dict[str, Any] = field(default_factory=dict)


class DataPlane(Protocol):
    """Answers inference requests for one or more models."""

    def submit(self, request: InferRequest, reply: Reply) -> None:
        """Take a request; answer through `reply` exactly once. Never raises, never blocks."""

    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        """Raises NotFound for a model or version that is not here."""

    def models(self) -> Sequence[str]:
        """Names of the models that can be asked for."""

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """Whether requests would be answered now: warm, and not draining. Raises NotFound for an unknown model."""

    async def bundle_file(self, model: str, file: str) -> bytes:
        """One small file of the model's bundle. Raises NotFound."""


class FutureReply(Generic[Answer]):
    """A reply that an `await` waits on. Cancelling the waiter marks the reply disconnected and harms nobody else."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    @property
    def disconnected(self) -> bool:
        return self.future.cancelled()

    def put(self, response: Answer) -> None:
        if not self.future.done():
            self.future.set_result(response)

    def error(self, error: PenstockError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


async def infer(plane: DataPlane, request: InferRequest) -> InferResponse:
    """Submit and wait. Raises the PenstockError that the data plane answered with."""
    reply: FutureReply[InferResponse] = FutureReply()
    plane.submit(request, reply)
    return await reply.future

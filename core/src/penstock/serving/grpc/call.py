"""One inference request over gRPC, unary or a message of a stream: what it holds, and how it is counted.

    open (id, context, guard, budget) -> request -> answered | failed | cancelled -> close (gives back what it held)

Invariant: whatever happens to a call, `close` gives back its bytes and its place in the in-flight count exactly once.
"""

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from penstock.dataplane import Context, InferRequest, InferResponse
from penstock.errors import Cancelled, DeadlineExceeded, ErrorKind, NotReady, PenstockError, TooLarge
from penstock.metrics import InFlight
from penstock.protocol.grpc.decoding import parse, request_of
from penstock.protocol.grpc.messages import ModelInferRequest
from penstock.protocol.limits import Limits
from penstock.serving.context import context_of, joined, request_id
from penstock.serving.security.scopes import PREDICT
from penstock.serving.shell import Reservation, Shell

if TYPE_CHECKING:
    import grpc

Headers = dict[bytes, bytes]


def headers_of(context: "grpc.aio.ServicerContext[Any, Any]") -> Headers:
    """A call's metadata as HTTP headers are kept: lower-case names, bytes; one given several times is joined by commas.

    So of two credentials neither counts, as over HTTP: whoever stood between may have looked at the other one.
    """
    lines = [
        (key.encode(), value if isinstance(value, bytes) else value.encode("utf-8", "replace"))
        for key, value in context.invocation_metadata() or ()
    ]
    found = dict(lines)
    return found if len(found) == len(lines) else joined(lines)


def deadline_of(context: "grpc.aio.ServicerContext[Any, Any]") -> float | None:
    """The call's deadline in seconds of `time.monotonic()`, None if it has none."""
    left = context.time_remaining()
    return None if left is None else time.monotonic() + left


def peer_of(context: "grpc.aio.ServicerContext[Any, Any]") -> str:
    """The caller's address without its port: `ipv4:10.0.0.1:5` is `10.0.0.1`; that of a Unix socket as it is."""
    kind, _, rest = unquote(context.peer()).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else rest


async def compress(context: "grpc.aio.ServicerContext[Any, Any]", headers: Headers) -> None:
    """Compress the answers of a call that asks as over HTTP, by `accept-encoding: gzip`: gRPC keeps its own header to itself."""
    if b"gzip" in headers.get(b"accept-encoding", b""):
        import grpc

        context.set_compression(grpc.Compression.Gzip)
        # grpc.aio says so in the initial metadata, and only in those that it is told to send.
        await context.send_initial_metadata(())


async def admit(shell: Shell, headers: Headers, model: str | None, verb: str, peer: str) -> None:
    """Ask the guard, if there is one. Raises what it refuses with."""
    guard = shell.guard
    if guard is not None:
        await guard.admitted(headers, model=model or None, verb=verb, peer=peer)


class Call:
    """One request. `headers` is read, and its request id written; `deadline` is gRPC's own."""

    __slots__ = ("bytes_in", "counters", "deadline", "flying", "headers", "peer", "request_id", "reservation", "shell", "started")

    def __init__(self, shell: Shell, headers: Headers, bytes_in: int, deadline: float | None, peer: str) -> None:
        self.shell = shell
        self.headers = headers
        self.bytes_in = bytes_in
        self.deadline = deadline
        self.peer = peer
        self.started = time.monotonic()
        self.request_id = headers[b"x-request-id"] = request_id(headers)
        self.counters = shell.metrics.none
        self.reservation: Reservation | None = None
        self.flying: InFlight | None = None

    async def request(self, message: bytes, limits: Limits) -> InferRequest:
        """The request of a message that may be answered now. Raises the PenstockError that it is refused with."""
        shell = self.shell
        if shell.starting:
            raise NotReady("starting: the model is being loaded")
        if len(message) > limits.body_bytes:
            raise TooLarge(f"expected at most {limits.body_bytes} bytes, got {len(message)}", field="message")
        self.reservation = Reservation(shell)
        self.reservation.grow(len(message))
        context = self._context()
        wire = parse(ModelInferRequest, message)
        await admit(shell, self.headers, wire.model_name, PREDICT, self.peer)
        self.flying = flying = shell.metrics.in_flight(wire.model_name)
        flying.count += 1
        return request_of(wire, context=context, limits=limits)

    def _context(self) -> Context:
        context = context_of(self.headers, self.started)
        if self.deadline is not None and (context.deadline is None or self.deadline < context.deadline):
            context.deadline = self.deadline
        return context

    def answered(self, response: InferResponse, bytes_out: int) -> None:
        """Count the answer."""
        self.counters = self.shell.metrics.model(response.model, response.bundle)
        self._record(bytes_out, None)

    def failed(self, error: PenstockError, request: InferRequest | None) -> None:
        """Count a failure. With `request` the data plane was asked: its model exists, unless the error says otherwise."""
        if request is not None and error.kind is not ErrorKind.NOT_FOUND:
            self.counters = self.shell.metrics.model(request.model, error.bundle or "")
        self._record(0, error)

    def cancelled(self, request: InferRequest | None) -> None:
        """Count a call that nobody waits for any more."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        self.failed(DeadlineExceeded("the call's deadline passed") if late else Cancelled("the caller went away"), request)

    def close(self) -> None:
        """Give back what the call held. Safe to call twice."""
        if self.reservation is not None:
            self.reservation.release()
        if self.flying is not None:
            self.flying.count -= 1
            self.flying = None

    def _record(self, bytes_out: int, error: PenstockError | None) -> None:
        self.shell.record(self.counters, self.started, self.bytes_in, bytes_out, error, self.request_id, self.headers)

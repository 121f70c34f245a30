r"""One stream as a state machine without I/O: messages in, submitted requests; replies in, messages out.

    take(message) -> credit? id free? -> DataPlane.submit -> StreamReply -> Sink.send
                 \-> error message                                      \-> credit, once half of it has been used up

Invariants: no more requests are unanswered than the credit that was granted, an id is in flight once, every message that
was taken gets exactly one answer with its id, and nothing is granted to a client that does not read.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from penstock.dataplane import Context, DataPlane, InferRequest, InferResponse
from penstock.errors import Conflict, ErrorKind, NotReady, PenstockError
from penstock.protocol.limits import Limits
from penstock.serving.context import context_of, new_request_id
from penstock.serving.faults import fault
from penstock.serving.security.scopes import PREDICT, Caller
from penstock.serving.shell import SMALL_BODY_BYTES, Reservation, Shell
from penstock.serving.websocket.limits import StreamLimits
from penstock.serving.websocket.messages import (
    CONTEXT_HEADERS,
    encode_answer,
    encode_error,
    id_of,
    own_context,
    read_request,
    split_binary,
)
from penstock.serving.websocket.subscriptions import Follow, Subscriptions, subject_of

logger = logging.getLogger(__name__)

GOING_AWAY = 1001
POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class Streams:
    """What all streams of one server share. `follow` None: there is nothing to subscribe to."""

    plane: DataPlane
    shell: Shell
    limits: Limits
    stream_limits: StreamLimits = field(default_factory=StreamLimits)
    follow: Follow | None = None


class Sink(Protocol):
    """Where a stream's messages go. Nothing here blocks; `writable` is False while the other side does not read."""

    @property
    def writable(self) -> bool: ...

    def send(self, text: bool, message: bytes) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


class StreamReply:
    """Implements `penstock.dataplane.Reply` for one message."""

    __slots__ = ("held", "length", "request", "started", "stream")

    def __init__(self, stream: "Stream", request: InferRequest, length: int, started: float, held: Reservation | None) -> None:
        self.stream = stream
        self.request = request
        self.length = length
        self.started = started
        self.held = held

    @property
    def disconnected(self) -> bool:
        return self.stream.closed

    def put(self, response: InferResponse) -> None:
        self.stream.answer(self, response)

    def error(self, error: PenstockError) -> None:
        self.stream.refuse(self, error)


class Stream:
    """One connection's requests for one model. All methods on the event loop's thread."""

    def __init__(
        self, shared: Streams, sink: Sink, model: str, version: str | None, headers: Mapping[bytes, bytes], peer: str = ""
    ) -> None:
        """`headers`: those of the handshake; what of them is a request's context holds for every message, and so do credentials.

        Raises InvalidInput for one of those that is malformed.
        """
        self.closed = False
        self.credit = shared.stream_limits.credit
        self._shared = shared
        self._sink = sink
        self._model = model
        self._version = version
        self._headers = {name: headers[name] for name in CONTEXT_HEADERS if name in headers and name != b"x-request-id"}
        self._credentials = {name: headers[name] for name in (b"authorization",) if name in headers}
        self._peer = peer
        self._flying: dict[str, StreamReply] = {}
        self._subscriptions: Subscriptions | None = None
        self._owed = 0
        self._draining = False
        self._in_flight = shared.shell.metrics.in_flight(model)
        context_of(self._headers, 0.0)

    @property
    def unanswered(self) -> int:
        return len(self._flying)

    def open(self) -> None:
        """The first message: how many requests may be unanswered."""
        self._sink.send(True, b'{"credit":%d}' % self.credit)

    def take(self, text: bool, message: bytes) -> None:
        """One message of the client. Once the stream drains it is ignored: its end tells that it has not been taken."""
        if self._draining or self.closed:
            return
        if self.credit <= 0:
            self._sink.close(POLICY_VIOLATION, f"more than {self._shared.stream_limits.credit} requests unanswered")
            return
        self.credit -= 1
        started = time.monotonic()
        body, header_length = message, None
        held: Reservation | None = None
        request_id: str | None = None
        try:
            if self._shared.shell.starting:
                raise NotReady("starting: the model is being loaded")
            caller = None
            if self._shared.shell.guard is not None:
                # Each message anew: a key may be taken away, and a rate is one of requests.
                caller = self._shared.shell.guard.admit(self._credentials, model=self._model, verb=PREDICT, peer=self._peer)
            if self._shared.follow is not None and text and (subject := subject_of(message)) is not None:
                self._subscribe(self._shared.follow, subject, caller)
                return
            if not text:
                body, header_length = split_binary(message)
            if len(message) > SMALL_BODY_BYTES:
                held = Reservation(self._shared.shell)
                held.grow(len(message))
            request = self._read(body, header_length, started)
        except Exception as raised:
            # A fault of ours too is one message's: raised from here it would end the connection, and all that is in flight on it.
            error = raised if isinstance(raised, PenstockError) else fault(logger, "message could not be taken", raised, "")
            if held is not None:
                held.release()
            if not isinstance(error, Conflict):  # an answer with that id would be taken for the first one's
                request_id = id_of(body, header_length)
            self._send_error(request_id, error, len(message), started, None)
            return
        reply = StreamReply(self, request, len(message), started, held)
        self._flying[request.id or ""] = reply
        self._in_flight.count += 1
        self._shared.plane.submit(request, reply)

    def _subscribe(self, follow: Follow, subject: str, caller: Caller | None) -> None:
        if self._subscriptions is None:
            self._subscriptions = Subscriptions(follow, lambda message: self._sink.send(True, message), self._answered)
        self._subscriptions.begin(subject, caller)

    def _read(self, body: bytes, header_length: int | None, started: float) -> InferRequest:
        headers = self._headers
        context = context_of(headers, started) if headers else Context(new_request_id())
        request = read_request(body, header_length, self._model, self._version, context, self._shared.limits)
        request.context = own_context(request, headers, started) or context
        if request.id in self._flying:
            raise Conflict(f"{request.id!r:.200} is in flight on this connection", field="id")
        return request

    def answer(self, reply: StreamReply, response: InferResponse) -> None:
        """A request was answered."""
        if not self._land(reply):
            return
        try:
            text, message = encode_answer(response, reply.request)
        except PenstockError as error:
            self._send_error(reply.request.id, error, reply.length, reply.started, reply.request.context, response.bundle)
            return
        except Exception as error:
            internal = fault(logger, "answer could not be encoded", error, reply.request.context.request_id)
            self._send_error(reply.request.id, internal, reply.length, reply.started, reply.request.context, response.bundle)
            return
        self._sink.send(text, message)
        shell = self._shared.shell
        counters = shell.metrics.model(self._model, response.bundle)
        identity = reply.request.context.request_id.encode("latin-1", "replace")
        shell.record(counters, reply.started, reply.length, len(message), None, identity, self._headers)
        self._answered()

    def refuse(self, reply: StreamReply, error: PenstockError) -> None:
        """A request failed."""
        if self._land(reply):
            bundle = error.bundle or ""
            self._send_error(reply.request.id, error, reply.length, reply.started, reply.request.context, bundle)

    def _land(self, reply: StreamReply) -> bool:
        """Give back what a request held; False if its stream is closed."""
        if reply.held is not None:
            reply.held.release()
        if self._flying.pop(reply.request.id or "", None) is None:
            return False
        self._in_flight.count -= 1
        return not self.closed

    def _send_error(
        self, request_id: str | None, error: PenstockError, length: int, started: float, context: Context | None, bundle: str = ""
    ) -> None:
        message = encode_error(request_id, error)
        self._sink.send(True, message)
        metrics = self._shared.shell.metrics
        # A model that is not here must not become a label.
        counters = metrics.none if error.kind is ErrorKind.NOT_FOUND else metrics.model(self._model, bundle)
        identity = b"" if context is None else context.request_id.encode("latin-1", "replace")
        self._shared.shell.record(counters, started, length, len(message), error, identity, self._headers)
        self._answered()

    def _answered(self) -> None:
        self._owed += 1
        self.grant()
        if self._draining and not self._flying:
            self._sink.close(GOING_AWAY, "the server stops")

    def grant(self) -> None:
        """Give credit for what was answered, once that is half of it all, to a client that reads."""
        if self._owed * 2 >= self._shared.stream_limits.credit and self._sink.writable and not self._draining:
            self.credit += self._owed
            self._sink.send(True, b'{"credit":%d}' % self._owed)
            self._owed = 0

    def drain(self) -> None:
        """Take nothing more; close once everything taken is answered. What is followed can be followed elsewhere."""
        self._draining = True
        if self._subscriptions is not None:
            self._subscriptions.stop()
        if not self._flying:
            self._sink.close(GOING_AWAY, "the server stops")

    def abandon(self) -> None:
        """The connection is gone: what has not begun need not run any more."""
        self.closed = True
        if self._subscriptions is not None:
            self._subscriptions.stop()
        for reply in self._flying.values():
            self._in_flight.count -= 1
            if reply.held is not None:
                reply.held.release()
        self._flying.clear()

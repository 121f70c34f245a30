"""Refusals by a request's head alone: while a queue is full, a request with a known head is refused for a few microseconds.

    known head --> pressure? --no--> FastExchange --> handler
                      +-- yes --> data plane's `refusal` --> 429 in one write

Under overload most of what arrives is refused, so what a refusal costs is taken from what can be served: no exchange is made,
no body is looked at. The answer and the counters are those that the handler would have given.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from penstock.batcher import Pressure
from penstock.dataplane import Context
from penstock.errors import InvalidInput, Overloaded, PenstockError
from penstock.metrics import ModelMetrics
from penstock.serving.context import new_request_id, read_limits
from penstock.serving.exchange import Exchange
from penstock.serving.routes import Found
from penstock.serving.status import error_response

if TYPE_CHECKING:
    from penstock.serving.fast import FastProtocol

Refusal = Callable[[str, str | None, Context], PenstockError | None]


class Asked:
    """What a head says: model, version, how long the caller waits, its priority, the bundle it insists on."""

    __slots__ = ("counters", "expect", "head", "model", "priority", "tail", "timeout_s", "turn", "version")

    def __init__(self, found: Found, headers: Mapping[bytes, bytes]) -> None:
        params = found[1]
        self.model = params[0]
        self.version = params[1] if len(params) > 1 else None
        self.timeout_s, self.priority, self.expect = read_limits(headers)
        # The last refusal, and the turn of the queues up to which it stands: what comes before and after the request id.
        self.turn = -1
        self.head = self.tail = b""
        self.counters: ModelMetrics | None = None


class EarlyRefusals:
    """One server's way to refuse by the head. `pressure.batchers` is 0 unless some queue refuses works at present."""

    __slots__ = ("_refusal", "pressure")

    def __init__(self, pressure: Pressure | None = None, refusal: Refusal | None = None) -> None:
        self.pressure = pressure or Pressure()
        self._refusal = refusal

    @classmethod
    def of(cls, plane: object) -> "EarlyRefusals":
        """By what a data plane shows of its queues, `pressure` and `refusal`; one without is never asked."""
        pressure: Pressure | None = getattr(plane, "pressure", None)
        refusal: Refusal | None = getattr(plane, "refusal", None)
        return cls() if refusal is None else cls(pressure, refusal)

    def check(self, exchange: Exchange, context: Context) -> None:
        """For handlers, before they decode a body: raises what the data plane would answer whatever the body holds.

        The route's parameters are the model and perhaps a version.
        """
        params = exchange.params
        error = self._refusal(params[0], params[1] if len(params) > 1 else None, context) if self._refusal is not None else None
        if error is not None:
            exchange.served_by(params[0], error.bundle or "")
            raise error

    def asked(self, found: Found, headers: Mapping[bytes, bytes]) -> Asked | None:
        """What a head asks for, None if that is wrong: then the handler says what is."""
        try:
            return Asked(found, headers)
        except InvalidInput:
            return None

    def refuse(self, protocol: "FastProtocol", asked: Asked, path: bytes, nbytes: int) -> bool:
        """Answer a request of `nbytes` with a refusal if it would get one; whether it was answered."""
        shell = protocol.shell
        if self._refusal is None or shell.draining or shell.starting or shell.guard is not None:
            return False
        pressure = self.pressure
        if asked.turn == pressure.turns and asked.counters is not None:
            identity = new_request_id().encode()
            standing = shell.standing_lines(protocol.server_state.default_headers)
            protocol.transport.write(b"".join((asked.head, identity, b"\r\n", standing, asked.tail)))
            asked.counters.observe_refusal(nbytes, len(asked.tail))
            protocol.server_state.total_requests += 1
            return True
        now = time.monotonic()
        deadline = None if asked.timeout_s is None else now + asked.timeout_s
        context = Context("", deadline=deadline, priority=asked.priority, expect_bundle=asked.expect)
        error = self._refusal(asked.model, asked.version, context)
        if error is None:
            return False
        counters = shell.metrics.model(asked.model, error.bundle or "")
        _prepare(asked, error, counters, path)
        asked.turn = pressure.turns if isinstance(error, Overloaded) else -1
        identity = new_request_id().encode()
        standing = shell.standing_lines(protocol.server_state.default_headers)
        protocol.transport.write(b"".join((asked.head, identity, b"\r\n", standing, asked.tail)))
        shell.record(counters, now, nbytes, len(asked.tail), error, identity, {})
        protocol.server_state.total_requests += 1
        return True


def _prepare(asked: Asked, error: PenstockError, counters: ModelMetrics, path: bytes) -> None:
    """The answer, but for what differs from one request to the next: its id and the date."""
    status, body, content_type, headers = error_response(error, path)
    asked.counters = counters
    asked.head = STATUS_LINE[status] + b"x-request-id: "
    asked.tail = b"content-type: %b\r\ncontent-length: %d\r\n%b%b\r\n%b" % (
        content_type,
        len(body),
        counters.header,
        headers,
        body,
    )

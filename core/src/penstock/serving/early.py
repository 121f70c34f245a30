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
from penstock.dataplane import Context, DataPlane
from penstock.errors import InvalidInput, PenstockError
from penstock.serving.context import new_request_id, read_limits
from penstock.serving.routes import Found
from penstock.serving.status import error_response

if TYPE_CHECKING:
    from penstock.serving.fast import FastProtocol

Refusal = Callable[[str, str | None, Context], PenstockError | None]


class Asked:
    """What a head says: model, version, how long the caller waits, its priority, the bundle it insists on."""

    __slots__ = ("expect", "model", "priority", "timeout_s", "version")

    def __init__(self, found: Found, headers: Mapping[bytes, bytes]) -> None:
        params = found[1]
        self.model = params[0]
        self.version = params[1] if len(params) > 1 else None
        self.timeout_s, self.priority, self.expect = read_limits(headers)


class EarlyRefusals:
    """One server's way to refuse by the head. `pressure.batchers` is 0 unless some queue refuses works at present."""

    __slots__ = ("_refusal", "pressure")

    def __init__(self, pressure: Pressure | None = None, refusal: Refusal | None = None) -> None:
        self.pressure = pressure or Pressure()
        self._refusal = refusal

    @classmethod
    def of(cls, plane: DataPlane) -> "EarlyRefusals":
        """By what a data plane shows of its queues, `pressure` and `refusal`; one without is never asked."""
        pressure: Pressure | None = getattr(plane, "pressure", None)
        refusal: Refusal | None = getattr(plane, "refusal", None)
        return cls() if refusal is None else cls(pressure, refusal)

    def check(self, model: str, version: str | None, context: Context) -> None:
        """Raises what the data plane would answer to this caller whatever the body holds. For handlers, before they decode it."""
        error = self._refusal(model, version, context) if self._refusal is not None else None
        if error is not None:
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
        now = time.monotonic()
        context = Context(
            "",
            deadline=None if asked.timeout_s is None else now + asked.timeout_s,
            priority=asked.priority,
            expect_bundle=asked.expect,
        )
        error = self._refusal(asked.model, asked.version, context)
        if error is None:
            return False
        identity = new_request_id().encode()
        counters = shell.metrics.model(asked.model, error.bundle or "")
        status, body, content_type, headers = error_response(error, path)
        head = b"%b%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b\r\n" % (
            STATUS_LINE[status],
            shell.standing_lines(protocol.server_state.default_headers),
            content_type,
            len(body),
            identity,
            counters.header,
            headers,
        )
        protocol.transport.write(head + body)
        shell.record(counters, now, nbytes, len(body), error, identity, {})
        protocol.server_state.total_requests += 1
        return True

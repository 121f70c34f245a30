"""An exchange that the fast protocol makes: the request as the parser saw it, the answer as one write.

To uvicorn it looks like one of its own cycles (`response_complete`, `disconnected`, `keep_alive`, `message_event`, `body`,
`more_body`), so that uvicorn's shutdown and its handling of lost connections keep working.
"""

import logging
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from penstock.errors import NotReady, PenstockError
from penstock.metrics import InFlight
from penstock.serving.context import request_id
from penstock.serving.faults import fault
from penstock.serving.routes import Found
from penstock.serving.security.middleware import admit_exchange
from penstock.serving.security.scopes import Caller
from penstock.serving.shell import SMALL_BODY_BYTES
from penstock.serving.status import error_response

if TYPE_CHECKING:
    from penstock.serving.fast import FastProtocol

logger = logging.getLogger(__name__)

# Answers above this size go out as two writes: copying them once more would cost more than the second write.
_JOIN_BYTES = 64 * 1024


class _Unheard:
    """Stands where uvicorn's cycles have an event; nobody waits on a fast exchange."""

    def set(self) -> None: ...


_UNHEARD = _Unheard()


class FastExchange:
    """Implements `penstock.serving.exchange.Exchange`."""

    __slots__ = (
        "body", "caller", "counters", "disconnected", "flying", "found", "headers", "keep_alive", "length", "more_body", "parts",
        "path", "protocol", "query", "received", "refused", "request_id", "reserved", "response_complete", "share",
        "started",
    )  # fmt: skip

    message_event = _UNHEARD
    # Set by a guard that let it in, and by nothing else: without one it costs nothing.
    caller: Caller

    def __init__(
        self,
        protocol: "FastProtocol",
        found: Found | None,
        path: bytes,
        query: bytes,
        headers: dict[bytes, bytes],
        length: int,
        started: float,
    ) -> None:
        self.protocol = protocol
        self.found = found
        self.path = path
        self.query = query
        self.headers = headers
        self.length = length
        self.started = started
        self.body = b""
        self.parts: list[bytes] | None = None
        self.received = 0
        self.more_body = True
        self.request_id = b""
        self.refused: PenstockError | None = None
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False
        self.counters = protocol.shell.metrics.none
        self.flying: InFlight | None = None
        self.reserved = 0
        if length > SMALL_BODY_BYTES and length <= protocol.shell.budget_bytes:
            self.reserved = length
            protocol.shell.budget_bytes -= length
            self.share = protocol.shell.metrics.in_flight(found[1][0] if found and found[1] else "")
            self.share.large_bytes += length

    @property
    def params(self) -> tuple[str, ...]:
        return self.found[1] if self.found is not None else ()

    def header(self, name: bytes) -> bytes | None:
        return self.headers.get(name)

    def missing_bytes(self) -> int:
        """How much of the body has not come yet."""
        return self.length - self.received

    def take(self, chunk: bytes) -> None:
        """A piece of the body. Small bodies come in one; of large ones the pieces are joined once, at the end."""
        self.received += len(chunk)
        if self.parts is not None:
            self.parts.append(chunk)
        elif self.received == self.length:
            self.body = chunk
        else:
            self.parts = [chunk]

    def served_by(self, model: str, bundle: str) -> None:
        self.counters = self.protocol.shell.metrics.model(model, bundle)

    def answer(self, status: int, body: bytes, content_type: bytes = b"application/json", headers: bytes = b"") -> None:
        self._respond(status, body, content_type, headers, None)

    def fail(self, error: PenstockError) -> None:
        status, body, content_type, headers = error_response(error, self.path)
        self._respond(status, body, content_type, headers, error)

    def _respond(self, status: int, body: bytes, content_type: bytes, headers: bytes, error: PenstockError | None) -> None:
        if self.response_complete:
            return
        protocol = self.protocol
        shell = protocol.shell
        self.release()
        if self.disconnected or protocol.transport.is_closing():
            self.response_complete = True
            return
        close = b""
        if not self.keep_alive or (shell.draining and not protocol.waiting):
            self.keep_alive = False
            close = b"connection: close\r\n"
        counters = self.counters
        head = b"%b%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b%b\r\n" % (
            STATUS_LINE[status],
            shell.standing_lines(protocol.server_state.default_headers),
            content_type,
            len(body),
            self.request_id or request_id(self.headers),
            counters.header,
            headers,
            close,
        )
        if len(body) <= _JOIN_BYTES:
            protocol.transport.write(head + body)
        else:
            protocol.transport.write(head)
            protocol.transport.write(body)
        self.response_complete = True
        shell.record(counters, self.started, self.received, len(body), error, self.request_id, self.headers)
        if not self.keep_alive:
            if self.more_body:
                protocol.linger()
            else:
                protocol.transport.close()
        protocol.on_response_complete()

    def give_back(self) -> None:
        """Give back the room of a large body; by itself for one that is not going to be read."""
        if self.reserved:
            self.protocol.shell.budget_bytes += self.reserved
            self.share.large_bytes -= self.reserved
            self.reserved = 0

    def release(self) -> None:
        """Give back what the request held: budget, and its place in the in-flight count. Safe to call twice."""
        if self.reserved:
            self.protocol.shell.released.total += self.reserved
            self.give_back()
        if self.flying is not None:
            self.flying.count -= 1
            self.flying = None


def run_handler(exchange: FastExchange) -> None:
    """Hand a complete request to its handler, if the guard admits it."""
    shell = exchange.protocol.shell
    if shell.guard is None or exchange.refused is not None or admit_exchange(shell.guard, exchange, run_admitted):
        run_admitted(exchange)


def run_admitted(exchange: FastExchange) -> None:
    """Hand a request to its handler; whatever that raises becomes this request's answer, and nobody else's."""
    shell = exchange.protocol.shell
    if exchange.parts is not None:
        exchange.body = b"".join(exchange.parts)
        exchange.parts = None
    if exchange.refused is not None:
        exchange.fail(exchange.refused)
        return
    if shell.starting:
        exchange.fail(NotReady("starting: the model is being loaded"))
        return
    assert exchange.found is not None
    handler, params = exchange.found
    exchange.flying = flying = shell.metrics.in_flight(params[0] if params else "")
    flying.count += 1
    try:
        handler(exchange)
    except PenstockError as error:
        exchange.fail(error)
    except Exception as error:
        exchange.fail(fault(logger, "handler failed", error, exchange.request_id))

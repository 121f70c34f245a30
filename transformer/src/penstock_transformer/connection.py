"""One kept-alive HTTP/1.1 connection to a predictor, and one exchange over it at a time.

    Pool --start(exchange)--> Connection --bytes--> predictor --bytes--> httptools --> exchange.answered | exchange.lost

No pipelining: a slow run would hold up the ones behind it, and a closed connection would leave in doubt which of them ran.
An exchange always ends: with a whole answer, or by `lost`, which says whether a byte of the answer had come.

Invariant: bytes that nobody asked for, behind an answer or between two, end the connection; they are never the next one's answer.
"""

import asyncio
import os
import ssl
from typing import Protocol, cast

import httptools

from penstock_transformer.endpoints import Endpoint

MAX_ANSWER_BYTES = 256 * 1024 * 1024


class ClientExchange(Protocol):
    """What a connection carries: the parts of a request, and where the answer goes."""

    parts: list[bytes]

    def answered(self, connection: "Connection", answer: "Answer") -> None: ...

    def lost(self, _connection: "Connection", *, begun: bool, reason: str) -> None: ...


class Answer:
    """A whole HTTP answer; header names in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""


class Connection(asyncio.Protocol):
    """A connection; `digest` is the bundle that the pod behind it last named, "" if it has not. Owned by its pool."""

    __slots__ = (
        "_answer",
        "_begun",
        "_body",
        "_exchange",
        "_on_lost",
        "_parser",
        "_peer",
        "_size",
        "_whole",
        "closed",
        "digest",
        "opened",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, on_lost: "OnLost", opened: float) -> None:
        self._on_lost = on_lost
        self.opened = opened
        self.digest = ""
        self.closed = False
        self._exchange: ClientExchange | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer()
        self._body: list[bytes] = []
        self._size = 0
        self._begun = False
        self._whole = False

    @property
    def exchange(self) -> ClientExchange | None:
        """The exchange in progress."""
        return self._exchange

    def start(self, exchange: ClientExchange) -> None:
        """Send a request. The connection must be idle."""
        self._exchange = exchange
        self._answer = Answer()
        self._body = []
        self._size = 0
        self._begun = False
        self.transport.writelines(exchange.parts)

    def abort(self) -> None:
        """Close at once; the exchange in progress is forgotten and hears nothing."""
        self._exchange = None
        self.closed = True
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        # Asked for now: a TLS transport that has ended knows it no more.
        self._peer = transport.get_extra_info("peername")

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self.abort()
            return
        self._begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._whole:
                self._lose(f"the predictor's answer is not HTTP: {error}")
            self.closed = True
        if self._whole:
            self._deliver()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._on_lost(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost(self, begun=self._begun, reason=self._reason(exc))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._size += len(body)
        if self._size > MAX_ANSWER_BYTES:
            self._lose(f"the predictor's answer is over {MAX_ANSWER_BYTES} bytes")

    def on_message_begin(self) -> None:
        if self._whole:
            self.closed = True

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._whole or self._exchange is None:
            return
        if status < 200:  # only says that the answer is to come (RFC 9110, 15.2)
            self._answer = Answer()
            return
        answer = self._answer
        answer.status = status
        answer.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        self._whole = True
        self.closed = not self._parser.should_keep_alive()

    def _deliver(self) -> None:
        """Hand over the answer once all bytes that came with it were looked at: what is told here may send the next request."""
        exchange, self._exchange = self._exchange, None
        self._whole = False
        if self.closed:
            self.transport.close()
        if exchange is not None:
            exchange.answered(self, self._answer)

    def _reason(self, exc: Exception | None) -> str:
        """A predictor that wants another certificate of ours says so here: the handshake of TLS 1.3 is over for us by then."""
        at = f" at {Endpoint(*self._peer[:2])}" if self._peer else ""
        return f"the predictor{at} closed the connection" + (f": {failure_of(exc)}" if isinstance(exc, OSError) else "")

    def _lose(self, reason: str) -> None:
        exchange, self._exchange = self._exchange, None
        self.closed = True
        self.transport.abort()
        if exchange is not None:
            exchange.lost(self, begun=True, reason=reason)


class OnLost(Protocol):
    def __call__(self, connection: Connection) -> None: ...


def failure_of(error: OSError | ValueError) -> str:
    """Why there is no connection, in the system's or TLS's own words; no addresses beside the one that was asked for."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', None) or (error.reason or 'failed').lower().replace('_', ' ')}"
    number = getattr(error, "errno", None)
    # The event loops put the address, or several, into `strerror`; errors of names have numbers of their own.
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error)

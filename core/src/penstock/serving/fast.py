"""uvicorn's HTTP protocol, with exactly the hot routes answered straight from the parser.

    bytes --> parser --> head complete --+-- a hot route in its plain form --> FastExchange --> handler --> one write
                                         +-- anything else ----------------> uvicorn's cycle --> FastAPI

A framework's routing and middleware cost ten times what decoding and running a small model do, so those few routes stay below
it. The plain form is HTTP/1.1 with a Content-Length (or no body), without Expect, Upgrade, chunks or a header given twice.

What keeps HTTP correct, whatever is pipelined: one request of a connection is answered at a time, in order (`active`); those
parsed behind it wait (`waiting`), and while any wait, or while the client does not read its answers, nothing more is parsed or
read. Input is parsed in slices, so that what one connection can make wait is bounded by what fits into a slice. Faults in the
stream are answered after the good requests before them. A sweep, once a second, takes the place of timers per request.

Supported: uvicorn 0.47 to 0.54. Relied on: `on_*` callbacks, `_start_asgi_task`, `flow`, `cycle`, and what a cycle has.
"""

import asyncio
import time
from collections import deque
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from penstock.serving.cycles import Cycle, PacedFlow, disconnect, head_without_upgrade, write_last_answer
from penstock.serving.fast_exchange import FastExchange, run_handler
from penstock.serving.greeting import greet
from penstock.serving.heads import KnownHeads
from penstock.serving.shell import SMALL_BODY_BYTES, Shell
from penstock.serving.sweeping import sweep
from penstock.serving.websocket.handshake import target_of
from penstock.serving.websocket.stream import Streams

SLICE_BYTES = 16 * 1024
# How long a connection without a request stays open once the server stops: a request may be on its way.
LAST_WORD_S = 1.0
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


class FastConfig(uvicorn.Config):
    """uvicorn's configuration for a `FastProtocol`, which finds its shell here."""

    shell: Shell
    heads: KnownHeads
    streams: Streams


class FastProtocol(HttpToolsProtocol):
    """One connection. See the module for the order that it keeps."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.shell: Shell = cast(FastConfig, config).shell
        self.heads: KnownHeads = cast(FastConfig, config).heads
        self.active: Cycle | None = None
        self.waiting: deque[tuple[Any, Any]] = deque()
        self.rest = b""
        self.fault: tuple[int, str] | None = None
        self.lingering = self.head_open = self.receiving = self.upgrading = self.streamed = self._advancing = False
        self.bare_bytes = 0  # fed since a head or trailers began, and not parsed into anything yet
        self.ticks = 0
        self.message_ticks = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = PacedFlow(transport, self)
        greet(self)

    def connection_lost(self, exc: Exception | None) -> None:
        cycles = [cycle for cycle in (*(waiting for waiting, _ in self.waiting), self.active) if cycle is not None]
        self.waiting.clear()
        self.rest = b""
        for cycle in cycles:
            disconnect(cycle)
        super().connection_lost(exc)
        # The last request knows its connection: with it, its body would stay until the garbage collector comes by.
        self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.ticks = 0
        if self.fault is not None:
            return
        if self.rest:
            self.rest += data
        elif (between := self._between_messages()) and self.heads.recall(self, data):
            return
        elif len(data) <= SLICE_BYTES or self._inside_body(len(data)):
            self._feed(data)
            cycle: Any = self.cycle
            if between and not self.receiving and cycle.__class__ is FastExchange:
                self.heads.remember(cycle, data)
        else:
            self.rest = data
            self._feed_rest()

    def _between_messages(self) -> bool:
        return not self.receiving and self.active is None and not self.flow.write_paused and not self.lingering

    def resume_writing(self) -> None:
        super().resume_writing()
        self._advance()

    def shutdown(self) -> None:
        """The server stops: close after the newest request's answer, or, when idle, after a moment for one on its way."""
        if self.active is not None or self.waiting:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(LAST_WORD_S, self._close_idle)

    def _close_idle(self) -> None:
        if self.active is None and not self.waiting and not self.receiving:
            self.transport.close()

    def _inside_body(self, length: int) -> bool:
        cycle: Any = self.cycle
        return cycle.__class__ is FastExchange and self.receiving and cycle.missing_bytes() >= length

    def _feed_rest(self) -> None:
        """Parse what was held back, a slice at a time, until something has to wait."""
        data, self.rest = self.rest, b""
        for start in range(0, len(data), SLICE_BYTES):
            if self.waiting:
                self.rest = data[start:]
                self.flow.pause_reading()
                return
            if self.fault is not None or self.transport.is_closing():
                return
            self._feed(data[start : start + SLICE_BYTES])
        self.flow.resume_reading()

    def _feed(self, data: bytes) -> None:
        if self.receiving:
            self.bare_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.fail(400, "expected an HTTP/1.1 request")
        if self.receiving and self.bare_bytes > self.shell.limits.head_bytes:
            self.fail(431, f"expected a request head, and trailers, of at most {self.shell.limits.head_bytes} bytes")

    def _upgrade(self, rest: bytes) -> None:
        """A WebSocket goes to uvicorn; for any other protocol the request counts as one that offers no change."""
        if self._should_upgrade():
            if self.active is None and not self.waiting:
                self.handle_websocket_upgrade()
                cast(asyncio.Protocol, self.transport.get_protocol()).data_received(rest)
            else:
                self.fail(400, "expected no upgrade behind unanswered requests")
            return
        if self.parser.get_method() == b"CONNECT":
            self.fail(400, "expected a request to this server, which is no proxy")
            return
        head = head_without_upgrade(self.parser.get_method(), self.url, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self._feed(head + rest)

    def _should_upgrade(self) -> bool:
        """Only streams speak WebSocket; anywhere else an offer to change to it is answered as plain HTTP."""
        return super()._should_upgrade() and target_of(self.url) is not None

    # --- the parser's callbacks

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.head_open = True
        self.receiving = True
        self.upgrading = False
        self.bare_bytes = 0
        self.message_ticks = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.head_open = False
        self.bare_bytes = 0
        shell = self.shell
        method: bytes = self.parser.get_method()
        path, _, query = self.url.partition(b"?")
        headers = dict(self.headers)
        length_text = headers.get(b"content-length")
        length = int(length_text) if length_text is not None else 0
        large = length > shell.least_body_bytes or length > shell.budget_bytes
        refused = shell.refusal(path, length, headers) if large else None
        self.streamed = bool(shell.routes.streamed) and shell.routes.streamed_form(path, headers) is not None
        if shell.origins and b"origin" in headers:
            self._hand_on(headers)
            return
        found = shell.routes.find(method, path)
        if length > SMALL_BODY_BYTES and refused is None and found is not None:
            refused = shell.large_refusal(found[1], path, query, headers, length, self.client[0] if self.client else "")
        if refused is None and (
            found is None
            or self.streamed
            or len(headers) != len(self.headers)
            or b"host" not in headers
            or b"transfer-encoding" in headers
            or b"expect" in headers
            or b"upgrade" in headers
            or (length_text is None and method in _WITH_BODY)
            or self.parser.get_http_version() != "1.1"
        ):
            self._hand_on(headers)
            return
        exchange = FastExchange(self, found, path, query, headers, length, time.monotonic())
        if refused is not None:
            exchange.refused = refused
            exchange.give_back()
            exchange.keep_alive = False
        elif b"connection" in headers:
            exchange.keep_alive = self.parser.should_keep_alive()
        self.cycle = cast(Any, exchange)
        if self.active is None and not self.waiting and not self.flow.write_paused:
            self.active = exchange
            if refused is not None:
                run_handler(exchange)
        else:
            self._wait(exchange, None)

    def on_body(self, body: bytes) -> None:
        self.bare_bytes = 0
        cycle: Any = self.cycle
        if cycle.__class__ is FastExchange:
            if not cycle.response_complete:
                cycle.take(body)
        elif not self.upgrading:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self.receiving = False
        if self.upgrading:
            return
        cycle: Any = self.cycle
        if cycle.__class__ is not FastExchange:
            super().on_message_complete()
            return
        cycle.more_body = False
        if self.lingering:
            self.transport.close()
        elif cycle is self.active:
            run_handler(cast(FastExchange, cycle))

    def _hand_on(self, headers: dict[bytes, bytes]) -> None:
        """Give the request to uvicorn and FastAPI: build what uvicorn would have built, then let it go on."""
        url, lines = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers.extend(lines)
        self.expect_100_continue = headers.get(b"expect", b"").lower() == b"100-continue"
        if self.parser.should_upgrade() and not self._should_upgrade():
            self.upgrading = True
            return
        self.cycle = None  # type: ignore[assignment]
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self.headers = []  # trailers go here, never to the headers that were judged

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """uvicorn begins a request here; it waits for its turn first."""
        if self.shell.draining:
            cycle.keep_alive = False
        if self.active is None and not self.waiting and not self.flow.write_paused:
            self.active = cycle
            super()._start_asgi_task(cycle, app)
        else:
            self._wait(cycle, app)

    def _wait(self, cycle: Any, app: Any) -> None:
        self.waiting.append((cycle, app))
        self.flow.pause_reading()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self.active = None
        self.ticks = 0
        if self.waiting or self.rest or self.fault is not None or self.flow.read_paused:
            self._advance()

    def _advance(self) -> None:
        """Begin the next request that waits; when none does, go on reading. A loop: an immediate answer must not recurse."""
        if self._advancing or self.transport.is_closing():
            return
        self._advancing = True
        try:
            while self.active is None and self.waiting and not self.flow.write_paused:
                cycle, app = self.waiting.popleft()
                self.active = cycle
                if app is not None:
                    super()._start_asgi_task(cycle, app)
                elif not cycle.more_body or cycle.refused is not None:
                    run_handler(cycle)
        finally:
            self._advancing = False
        if self.waiting:
            return
        if self.fault is not None:
            if self.active is None and not self.lingering:
                self._send_fault()
        elif self.rest:
            self.loop.call_soon(self._feed_rest)
        else:
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        self.fail(400, msg)

    def fail(self, status: int, message: str) -> None:
        """The stream cannot go on: answer what came before, then this, then close."""
        if self.fault is not None or self.transport.is_closing():
            return
        self.fault = (status, message)
        self.rest = b""
        if self.receiving and not self.head_open and not self.upgrading:
            # The fault is inside the newest request's body: the fault is its answer.
            broken: Any = self.cycle
            if broken is self.active:
                self.active = None
            elif self.waiting and self.waiting[-1][0] is broken:
                self.waiting.pop()
            if broken is not None:
                disconnect(broken)
                if broken.response_complete:  # it has its answer; a second one would be taken for the next request's
                    self.transport.close()
                    return
        if self.active is None and not self.waiting:
            self._send_fault()

    def _send_fault(self) -> None:
        assert self.fault is not None
        write_last_answer(self, *self.fault, self.url if self.receiving else b"")
        (self.linger if self.fault[0] == 431 else self.transport.close)()

    def linger(self) -> None:
        """Read on for a moment before closing, and drop it: closing with unread input resets the connection, answer and all."""
        self.lingering = True
        self.message_ticks = 0
        self.flow.resume_reading()

    sweep = sweep  # called once a second

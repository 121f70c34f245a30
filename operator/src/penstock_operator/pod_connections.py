"""HTTP/1.1 GETs to pods over connections that are kept: a few system calls each, for a hundred pods are asked all the time.

    PodConnections.get(pod's uid, address, port, path) --kept connection, or a new one--> Answered, or None

A client library's request on a connection of its own costs ten times this, and was most of what an idle operator took.

Invariants: a connection belongs to one pod by its uid, for addresses are used again; it carries one request at a time; as many
are kept as there is room for, the one that was not used for longest goes first; every request ends by its deadline.
"""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import httptools

MOST_KEPT = 500
_AT_ONCE = 64

Key = tuple[str, str, int]
"""A pod's uid, its address and the port."""


class Ended(OSError):
    """The connection ended before an answer had begun."""


@dataclass(slots=True)
class Answered:
    """A whole answer; header names in lower case."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


class PodConnections:
    """Opened in the loop that uses it, closed there. `timeout_s` is for each request, with a connection if that is new."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._kept: dict[Key, _Connection] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def get(self, key: Key, path: str, most: int) -> Answered | None:
        """The answer; None if there is none in time, or it is longer than `most` bytes."""
        host = f"[{key[1]}]" if ":" in key[1] else key[1]
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{key[2]}\r\nAccept: application/json\r\n\r\n".encode()
        try:
            async with asyncio.timeout(self._timeout_s), self._at_once:
                return await self._ask(key, request, most)
        except (OSError, TimeoutError):
            return None

    def close(self) -> None:
        """Close what is kept."""
        for connection in self._kept.values():
            connection.abort()
        self._kept.clear()

    async def _ask(self, key: Key, request: bytes, most: int) -> Answered:
        kept = self._kept.pop(key, None)
        if kept is not None and not kept.closed:
            try:
                return await self._asked(kept, key, request, most)
            except Ended:
                pass  # the pod had closed it meanwhile
        _, opened = await asyncio.get_running_loop().create_connection(_Connection, key[1], key[2])
        return await self._asked(opened, key, request, most)

    async def _asked(self, connection: "_Connection", key: Key, request: bytes, most: int) -> Answered:
        try:
            answer = await connection.ask(request, most)
        except BaseException:
            connection.abort()
            raise
        if not connection.closed:
            self._keep(key, connection)
        return answer

    def _keep(self, key: Key, connection: "_Connection") -> None:
        other = self._kept.pop(key, None)
        if other is not None:
            other.abort()
        self._kept[key] = connection
        if len(self._kept) > MOST_KEPT:
            first = next(iter(self._kept))
            self._kept.pop(first).abort()


class _Connection(asyncio.Protocol):
    """One connection and at most one request on it."""

    def __init__(self) -> None:
        self.closed = False
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answered()
        self._body = bytearray()
        self._most = 0
        self._waiting: asyncio.Future[Answered] | None = None

    async def ask(self, request: bytes, most: int) -> Answered:
        """Raises Ended, or OSError for what is no answer."""
        if self.closed:
            raise Ended("closed")
        self._answer, self._body, self._most = Answered(), bytearray(), most
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def abort(self) -> None:
        self.closed = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self.abort()  # nobody asked for it
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(OSError(f"not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        begun = bool(self._answer.headers)
        if begun and exc is None and not {b"content-length", b"transfer-encoding"} & self._answer.headers.keys():
            self._end()  # an answer that goes on until the connection ends
        self._fail(OSError("cut off") if begun else Ended("closed"))

    def on_message_begin(self) -> None:
        if self._waiting is None:
            self._answer = Answered()  # a second answer to one request is nobody's
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > self._most:
            self._fail(OSError("too long"))

    def on_message_complete(self) -> None:
        self.closed = self.closed or not self._parser.should_keep_alive()
        self._end()
        if self.closed:
            self._transport.close()

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            answer = self._answer
            answer.status, answer.body = self._parser.get_status_code(), bytes(self._body)
            waiting.set_result(answer)

    def _fail(self, error: OSError) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
        if not self.closed:
            self.abort()

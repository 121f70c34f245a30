"""One connection to Redis on which batches of commands travel behind each other, and its re-making when it is lost.

    execute(commands as bytes, how many replies) --one write--> Redis --replies in order--> list of replies

    disconnected --execute--> connecting --AUTH, SELECT--> connected --lost--> disconnected (and a backoff)

Why not a client library's connection: packing each command and awaiting each reply costs it more than the rest of a request
(docs/decisions/0005-redis-connection.md). hiredis parses; this file keeps the order, the deadlines and the bounds. Replies come
in the order of commands, so a caller who leaves early leaves its place in the queue behind, and its replies are thrown away.
"""

import asyncio
import random
import time
from collections import deque
from typing import Any, cast

import hiredis

from penstock.errors import Overloaded, PenstockError, UpstreamUnavailable
from penstock_transformer.store.redis_url import RedisAddress
from penstock_transformer.store.settings import StoreSettings

_NOTHING = object()


class _Waiting:
    """A batch under way: its future, and the replies that have come so far."""

    __slots__ = ("count", "future", "replies")

    def __init__(self, count: int, future: "asyncio.Future[list[Any]]") -> None:
        self.count = count
        self.future = future
        self.replies: list[Any] = []


class _Lost(UpstreamUnavailable):
    """The connection went away under a batch; whether Redis carried it out is not known."""


class _Stream(asyncio.Protocol):
    """The bytes of one connection."""

    def __init__(self, label: str) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.received = 0
        self.open = False
        self.transport: asyncio.Transport | None = None
        self._label = label
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        self.received += 1
        reader, waiting = self._reader, self.waiting
        reader.feed(data)
        try:
            while waiting:
                head = waiting[0]
                replies = head.replies
                missing = head.count - len(replies)
                while missing:
                    reply = reader.gets()
                    if reply is _NOTHING:
                        return
                    replies.append(reply)
                    missing -= 1
                waiting.popleft()
                if not head.future.done():
                    head.future.set_result(replies)
        except hiredis.ProtocolError as error:
            self.lose(f"sent what is not Redis's protocol: {error}")

    def lose(self, reason: str) -> None:
        """Drop the connection; every batch under way fails."""
        self.open = False
        if self.transport is not None:
            self.transport.abort()
        while self.waiting:
            future = self.waiting.popleft().future
            if not future.done():
                future.set_exception(_Lost(f"the feature store ({self._label}) {reason}"))

    def connection_lost(self, error: Exception | None) -> None:
        self.lose(f"closed the connection: {error}" if error else "closed the connection")
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, payload: bytes, count: int) -> "asyncio.Future[list[Any]]":
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.waiting.append(_Waiting(count, future))
        assert self.transport is not None
        self.transport.write(payload)
        return future


class RedisConnection:
    """Batches of commands to one Redis. Everything here runs on the event loop's thread."""

    def __init__(self, address: RedisAddress, settings: StoreSettings) -> None:
        self._address = address
        self._settings = settings
        self._stream: _Stream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._failures = 0
        self._not_before = 0.0
        self._last_error: PenstockError | None = None
        self._closed = False

    async def connect(self) -> None:
        """Connect now if not connected. Raises UpstreamUnavailable."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._connected()
        except TimeoutError:
            raise self._too_late() from None

    async def execute(self, payload: bytes, count: int, *, again: bool = False) -> list[Any]:
        """Send packed commands and return their `count` replies (an error reply is a `hiredis.ReplyError` among them).

        `again`: the commands may be sent a second time if the connection is lost under them (reads). Raises UpstreamUnavailable
        within the timeout, Overloaded when too many batches are under way. Cancelling disturbs no other batch.
        """
        stream = self._stream
        if stream is not None and len(stream.waiting) >= self._settings.max_in_flight:
            raise Overloaded("the feature store has too many reads under way", retry_after_s=self._settings.timeout_s)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.timeout_s
        while True:
            if stream is None or not stream.open:
                stream = await self._reach(deadline)
            future = stream.send(payload, count)
            timer = loop.call_at(deadline, self._expire, stream, future, stream.received)
            try:
                return await future
            except _Lost:
                if not again:
                    raise
                again = False
            finally:
                timer.cancel()

    async def close(self) -> None:
        """Close the connection; batches under way fail."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._stream is not None and self._stream.transport is not None:
            self._stream.lose("is being closed")
            await self._stream.closed

    def _expire(self, stream: _Stream, future: "asyncio.Future[list[Any]]", received: int) -> None:
        if future.done():
            return
        future.set_exception(self._too_late())
        if stream.received == received:
            # Not a byte in all that time: this is not a slow batch but a lost connection.
            stream.lose(f"did not answer in {self._settings.timeout_s} s")

    def _too_late(self) -> UpstreamUnavailable:
        return UpstreamUnavailable(f"the feature store ({self._address.label}) did not answer in {self._settings.timeout_s} s")

    async def _reach(self, deadline: float) -> _Stream:
        try:
            async with asyncio.timeout_at(deadline):
                await self._connected()
        except TimeoutError:
            raise self._too_late() from None
        assert self._stream is not None
        return self._stream

    async def _connected(self) -> None:
        if self._stream is not None and self._stream.open:
            return
        if self._closed:
            raise UpstreamUnavailable("the feature store is closed")
        if self._connecting is None:
            if time.monotonic() < self._not_before and self._last_error is not None:
                raise UpstreamUnavailable(self._last_error.message)
            self._connecting = asyncio.create_task(self._connect(), name="redis-connect")
            self._connecting.add_done_callback(self._done)
        # One attempt serves all who wait; one who stops waiting does not end it for the others.
        await asyncio.shield(self._connecting)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()

    async def _connect(self) -> None:
        address = self._address
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                _, stream = await loop.create_connection(
                    lambda: _Stream(address.label), address.host, address.port, ssl=address.tls
                )
                try:
                    await self._greet(stream)
                except BaseException:
                    stream.lose("was not let in")
                    raise
        except (OSError, TimeoutError, UpstreamUnavailable) as error:
            raise self._failed(error) from None
        self._failures, self._last_error, self._stream = 0, None, stream

    async def _greet(self, stream: _Stream) -> None:
        address = self._address
        commands: list[tuple[Any, ...]] = []
        if address.password is not None:
            commands.append(("AUTH", *([address.username] if address.username else []), address.password))
        if address.database:
            commands.append(("SELECT", address.database))
        commands.append(("PING",))
        payload = b"".join([hiredis.pack_command(command) for command in commands])
        for reply in await stream.send(payload, len(commands)):
            if isinstance(reply, hiredis.ReplyError):
                raise UpstreamUnavailable(f"the feature store ({address.label}) refused the connection: {reply}")

    def _failed(self, error: Exception) -> PenstockError:
        settings = self._settings
        delay = min(settings.backoff_s * 2**self._failures, settings.max_backoff_s)
        self._failures = min(self._failures + 1, 16)
        # Jitter, so that pods that lost the same store do not come back to it in the same instant.
        self._not_before = time.monotonic() + delay * random.uniform(0.5, 1.0)
        if not isinstance(error, UpstreamUnavailable):
            reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            error = UpstreamUnavailable(f"the feature store ({self._address.label}) cannot be reached: {reason}")
        self._last_error = error
        return error

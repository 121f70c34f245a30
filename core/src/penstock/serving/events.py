r"""Server-sent events: their form, and a bounded queue of them with a heartbeat.

    producer --put--> EventQueue (items, bytes) --stream--> `id: 7\ndata: {…}\n\n`, or a comment when nothing came for a while

Source: WHATWG HTML, section 9.2, "Server-sent events". Nothing here knows HTTP: `stream` gives the bytes of a body.

Invariant: a queue holds at most `most_items` and `most_bytes`. What does not fit ends the queue with Overloaded: a reader that is
slower than its events must not hold them all, and an event left out silently would be worse than an end that is seen.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator

from penstock.errors import Overloaded

CONTENT_TYPE = b"text/event-stream"
HEARTBEAT = b": waiting\n\n"
HEARTBEAT_S = 15.0
"""Shorter than the idle time-outs of common proxies (30 to 60 s)."""


def format_event(data: bytes, *, id: str | None = None, event: str | None = None, retry_ms: int | None = None) -> bytes:
    """One event. `data` may have several lines. Raises ValueError for an id or a name with a line break, or an id with NUL."""
    lines = []
    for name, value in (("id", id), ("event", event)):
        if value is not None:
            if any(sign in value for sign in "\r\n\0"):
                raise ValueError(f"{name} of an event has a line break or NUL")
            lines.append(f"{name}: {value}\n".encode())
    if retry_ms is not None:
        lines.append(b"retry: %d\n" % retry_ms)
    if b"\n" not in data and b"\r" not in data:
        lines.append(b"data: %b\n" % data)
    else:
        broken = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines += [b"data: %b\n" % line for line in broken.split(b"\n")]
    lines.append(b"\n")
    return b"".join(lines)


async def heartbeats(events: AsyncGenerator[bytes], every_s: float = HEARTBEAT_S) -> AsyncGenerator[bytes]:
    """The same events, and a comment after every `every_s` in which none came. Ends with them; raises what they raise."""
    waiting: asyncio.Future[bytes | None] = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=every_s)
            if not done:
                yield HEARTBEAT
                continue
            event = waiting.result()
            if event is None:
                return
            yield event
            waiting = asyncio.ensure_future(anext(events, None))
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await events.aclose()


class EventQueue:
    """Events on their way to one reader. `put` and `close` are called on the event loop's thread; one `stream` reads."""

    def __init__(self, *, most_items: int = 1000, most_bytes: int = 1024 * 1024) -> None:
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._events: deque[bytes] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, event: bytes) -> None:
        """Add one event as `format_event` made it; dropped once closed. Raises Overloaded, and closes, if it does not fit."""
        if self._closed:
            return
        if len(self._events) >= self._most_items or (self._events and self._bytes + len(event) > self._most_bytes):
            self.close()
            raise Overloaded("the reader of these events is too slow")
        self._events.append(event)
        self._bytes += len(event)
        self._changed.set()

    def close(self) -> None:
        """No more events; `stream` ends behind those that are there."""
        self._closed = True
        self._changed.set()

    async def stream(self, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[bytes]:
        """The events as they come, joined where several wait; a comment after every `heartbeat_s` of silence."""
        while True:
            if self._events:
                joined = b"".join(self._events)
                self._events.clear()
                self._bytes = 0
                yield joined
            elif self._closed:
                return
            else:
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), heartbeat_s)
                except TimeoutError:
                    yield HEARTBEAT

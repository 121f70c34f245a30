r"""Server-sent events: their form, and a comment between them when nothing came for a while.

    source --format_event--> `id: 7\ndata: {…}\n\n` --Heartbeats--> the bytes of a body

Source: WHATWG HTML, section 9.2, "Server-sent events". Nothing here knows HTTP.

Invariant: at most one event is asked for ahead of the reader: the source waits for whoever is slower, and nothing is left out.
"""

import asyncio
from collections.abc import AsyncGenerator

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


class Heartbeats:
    """The same events, and a comment after every `every_s` in which none came. Ends with them; raises what they raise.

    Not a generator: what cancels one of those ends it where it stands, and the framework's cancelled scope would break off the
    ending too. So whoever reads these calls `aclose` in the end, outside of any such scope.
    """

    def __init__(self, events: AsyncGenerator[bytes], every_s: float = HEARTBEAT_S) -> None:
        self._events = events
        self._every_s = every_s
        self._next: asyncio.Future[bytes | None] | None = None

    def __aiter__(self) -> "Heartbeats":
        return self

    async def __anext__(self) -> bytes:
        """The next event, or a comment. Cancelled, it loses none: the next call waits for the same event."""
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._events, None))
        done, _ = await asyncio.wait({self._next}, timeout=self._every_s)
        if not done:
            return HEARTBEAT
        came, self._next = self._next, None
        event = came.result()
        if event is None:
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        """End the events, wherever they are; returns when they have ended."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self._events.aclose()

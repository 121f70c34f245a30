"""The response of what is followed by server-sent events: what was taken to follow it is given back with the stream's end.

enter the following -> events --Heartbeats--> FollowedEvents -> events ended -> following left, though nothing may have begun

Invariant: the following is left once, behind the events, whatever became of them and of the reader.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from fastapi.responses import StreamingResponse

from penstock.serving.events import CONTENT_TYPE, HEARTBEAT_S, Heartbeats

_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class FollowedEvents(StreamingResponse):
    """`events` as `format_event` made them, with heartbeats between; `following` is left with the stream's end."""

    def __init__(self, events: AsyncGenerator[bytes], following: AsyncExitStack, heartbeat_s: float = HEARTBEAT_S) -> None:
        stream = Heartbeats(events, heartbeat_s)
        super().__init__(stream, headers=_HEADERS, media_type=CONTENT_TYPE.decode())
        self._stream = stream
        self._following = following

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            async with aclosing(self._stream):
                await super().__call__(scope, receive, send)
        finally:
            await self._following.aclose()

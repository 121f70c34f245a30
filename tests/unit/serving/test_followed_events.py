"""What a stream of events was given to follow is left exactly once, however it ends; and nothing of it goes on behind it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from penstock.serving.events import HEARTBEAT, Heartbeats
from penstock.serving.followed_events import FollowedEvents

DEADLINE_S = 20
SILENT = 3600.0


class Source:
    """Events to follow: what is put, until `None` (the end) or an error. `ended` counts how often its cleaning up ran."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.begun = asyncio.Event()
        self.ended = self.left = 0
        self.order: list[str] = []

    async def events(self) -> AsyncGenerator[bytes]:
        self.begun.set()
        try:
            while (event := await self.queue.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            await asyncio.sleep(0)  # as whoever has something to give back to another part
            self.ended += 1
            self.order.append("events ended")

    async def following(self) -> AsyncExitStack:
        """What is taken to follow it."""
        stack = AsyncExitStack()

        async def leave() -> None:
            await asyncio.sleep(0)
            self.left += 1
            self.order.append("left")

        stack.push_async_callback(leave)
        return stack


class Reader:
    """One client: keeps what is sent, and may go, or stop taking, at any time."""

    def __init__(self, *, spec: str = "2.3") -> None:
        self.scope = {"type": "http", "asgi": {"spec_version": spec}}
        self.body: list[bytes] = []
        self.got = asyncio.Event()
        self.gone = asyncio.Event()
        self.stuck = False
        self.broken = False

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.broken:
            raise OSError("connection reset")
        if message.get("body"):
            self.body.append(message["body"])
            self.got.set()
            if self.stuck:
                await asyncio.Event().wait()


def run(case: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_S):
            before = asyncio.all_tasks()
            await case()
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == before, "nothing goes on behind the stream"

    asyncio.run(bounded())


async def followed(source: Source, reader: Reader, heartbeat_s: float = SILENT) -> None:
    response = FollowedEvents(source.events(), await source.following(), heartbeat_s)
    await response(reader.scope, reader.receive, reader.send)


# --- heartbeats


def test_silence_is_told_and_no_event_is_lost_to_it() -> None:
    async def case() -> None:
        source = Source()
        stream = Heartbeats(source.events(), 0.001)
        assert [await anext(stream), await anext(stream)] == [HEARTBEAT, HEARTBEAT]
        source.queue.put_nowait(b"a")
        source.queue.put_nowait(b"b")
        source.queue.put_nowait(None)
        assert [part async for part in stream if part != HEARTBEAT] == [b"a", b"b"]
        await stream.aclose()
        assert source.ended == 1

    run(case)


def test_a_reader_that_stops_waiting_loses_no_event() -> None:
    async def case() -> None:
        source = Source()
        stream = Heartbeats(source.events(), SILENT)
        waiting = asyncio.create_task(anext(stream))
        await source.begun.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        source.queue.put_nowait(b"a")
        assert await anext(stream) == b"a"
        await stream.aclose()

    run(case)


def test_heartbeats_raise_what_the_events_raise_behind_what_came_before() -> None:
    async def case() -> None:
        source = Source()
        source.queue.put_nowait(b"a")
        source.queue.put_nowait(ValueError("a fault of ours"))
        stream = Heartbeats(source.events(), SILENT)
        assert await anext(stream) == b"a"
        with pytest.raises(ValueError, match="a fault of ours"):
            await anext(stream)
        assert source.ended == 1

    run(case)


@pytest.mark.parametrize("at", ["an event", "a heartbeat"])
def test_heartbeats_that_nobody_reads_any_more_end_their_events(at: str) -> None:
    async def case() -> None:
        source = Source()
        if at == "an event":
            source.queue.put_nowait(b"a")
        stream = Heartbeats(source.events(), SILENT if at == "an event" else 0.001)
        await anext(stream)
        await stream.aclose()
        assert source.ended == 1

    run(case)


# --- the response


def test_a_stream_to_its_end() -> None:
    async def case() -> None:
        source, reader = Source(), Reader()
        for event in (b"a", b"b", None):
            source.queue.put_nowait(event)
        await followed(source, reader)
        assert reader.body == [b"a", b"b"]
        assert source.order == ["events ended", "left"]

    run(case)


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_a_reader_that_goes_before_anything_was_sent(spec: str) -> None:
    """The events are never begun: there is nothing of them to end, and what was taken for them is given back all the same."""

    async def case() -> None:
        source, reader = Source(), Reader(spec=spec)
        reader.broken = True
        with suppress(Exception):
            await followed(source, reader)
        assert not source.begun.is_set()
        assert (source.ended, source.left) == (0, 1)

    run(case)


def test_a_reader_that_goes_while_nothing_comes() -> None:
    async def case() -> None:
        source, reader = Source(), Reader()
        source.queue.put_nowait(b"a")
        running = asyncio.create_task(followed(source, reader))
        await reader.got.wait()
        reader.gone.set()
        await running
        assert source.order == ["events ended", "left"]

    run(case)


def test_a_reader_that_goes_while_it_does_not_take_what_is_sent() -> None:
    async def case() -> None:
        source, reader = Source(), Reader()
        reader.stuck = True
        source.queue.put_nowait(b"a")
        running = asyncio.create_task(followed(source, reader))
        await reader.got.wait()
        reader.gone.set()
        await running
        assert source.order == ["events ended", "left"]

    run(case)


def test_a_connection_that_breaks_half_way() -> None:
    async def case() -> None:
        source, reader = Source(), Reader(spec="2.4")
        source.queue.put_nowait(b"a")
        running = asyncio.create_task(followed(source, reader))
        await reader.got.wait()
        reader.broken = True
        source.queue.put_nowait(b"b")
        with pytest.raises(Exception):  # noqa: B017  whatever the framework calls a client that has gone
            await running
        assert source.order == ["events ended", "left"]

    run(case)


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_a_server_that_ends_takes_its_streams_with_it(spec: str) -> None:
    async def case() -> None:
        source, reader = Source(), Reader(spec=spec)
        running = asyncio.create_task(followed(source, reader))
        await source.begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert source.order == ["events ended", "left"]

    run(case)


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_events_that_raise_end_the_response_and_are_left(spec: str) -> None:
    async def case() -> None:
        source, reader = Source(), Reader(spec=spec)
        source.queue.put_nowait(b"a")
        source.queue.put_nowait(ValueError("a fault of ours"))
        with pytest.raises(ValueError, match="a fault of ours"):
            await followed(source, reader)
        assert reader.body == [b"a"]
        assert source.order == ["events ended", "left"]

    run(case)


def test_events_that_cannot_end_in_order_are_left_all_the_same() -> None:
    async def case() -> None:
        source, reader = Source(), Reader()

        async def stubborn() -> AsyncGenerator[bytes]:
            try:
                yield b"a"
                await asyncio.Event().wait()
            finally:
                source.ended += 1
                raise ValueError("cleaning up failed")

        response = FollowedEvents(stubborn(), await source.following(), SILENT)
        reader.stuck = True
        running = asyncio.create_task(response(reader.scope, reader.receive, reader.send))
        await reader.got.wait()
        reader.gone.set()
        with suppress(ValueError):
            await running
        assert (source.ended, source.left) == (1, 1)

    run(case)

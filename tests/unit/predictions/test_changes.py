"""Who waits for news: told once, in order, never too little."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from penstock.errors import NotFound
from penstock_transformer.predictions.changes import Changes
from penstock_transformer.predictions.resource import State


def run(case: Callable[[Changes], Awaitable[None]]) -> None:
    async def go() -> None:
        async with asyncio.timeout(10):
            await case(Changes())

    asyncio.run(go())


def reader(*states: State) -> Callable[[], Awaitable[State]]:
    left = list(states)

    async def read() -> State:
        return left.pop(0)

    return read


def test_what_is_told_between_subscribing_and_reading_is_not_missed() -> None:
    async def case(changes: Changes) -> None:
        async def read() -> State:
            changes.tell("x", State.PROCESSING)
            changes.tell("x", State.FAILED)
            return State.STARTING

        async with changes.watch("x", read) as states:
            assert [state async for state in states] == [State.STARTING, State.PROCESSING, State.FAILED]

    run(case)


def test_what_is_told_late_or_twice_is_left_out() -> None:
    async def case(changes: Changes) -> None:
        async with changes.watch("x", reader(State.PROCESSING)) as states:
            assert await anext(states) is State.PROCESSING
            for state in (State.STARTING, State.PROCESSING, State.SUCCEEDED, State.FAILED):
                changes.tell("x", state)
            assert [state async for state in states] == [State.SUCCEEDED]

    run(case)


def test_after_a_gap_everybody_reads_again() -> None:
    async def case(changes: Changes) -> None:
        woken: list[str] = []
        end = changes.arrivals("m", lambda: woken.append("m"))
        async with changes.watch("x", reader(State.STARTING, State.STARTING, State.CANCELED)) as states:
            assert await anext(states) is State.STARTING
            following = asyncio.ensure_future(anext(states))
            changes.missed()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not following.done()
            changes.missed()
            assert await following is State.CANCELED
        assert woken == ["m", "m"]
        end()
        changes.missed()
        assert woken == ["m", "m"]

    run(case)


def test_watchers_are_forgotten_when_they_leave() -> None:
    async def case(changes: Changes) -> None:
        async def missing() -> State:
            raise NotFound("x")

        with pytest.raises(NotFound):
            async with changes.watch("x", missing):
                pass
        for _ in range(3):
            async with changes.watch("x", reader(State.STARTING)) as states:
                assert await anext(states) is State.STARTING
        assert not changes._watchers
        changes.tell("x", State.FAILED)

    run(case)

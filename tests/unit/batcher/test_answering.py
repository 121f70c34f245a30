"""Answers of large runs are written in slices: others have their turn in between, and everybody is still answered once."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.batcher import Batcher, BatchPolicy, answering
from penstock.errors import Internal, InvalidInput
from penstock.testing.batching import batcher_of, echo, run_within


def in_steps(works: list[Any], results: list[Any]) -> Iterator[None]:
    """A deliver that answers one work a step."""
    for work, result in zip(works, results, strict=True):
        work.put(result)
        yield


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`slow(n)`: from now on n answers take up a slice of the loop's time."""

    def set_clock(answers: int) -> None:
        now = [0.0]

        def clock() -> float:
            now[0] += answering.SLICE_S / (answers - 0.5)
            return now[0]

        monkeypatch.setattr(answering, "_monotonic", clock)

    return set_clock


@pytest.mark.parametrize("mode", ["thread", "coroutine"])
def test_others_have_their_turn_between_slices(item: Any, slow: Callable[[int], None], mode: str) -> None:
    async def main() -> None:
        slow(3)
        events: list[Any] = []
        batcher = batcher_of(mode, echo, in_steps)
        works = [item(payload=at) for at in range(8)]
        for work in works:
            work.on_answer = lambda at=work.payload: events.append(at)
            batcher.submit(work)
        works[0].on_answer = lambda: (events.append(0), asyncio.get_running_loop().call_soon(events.append, "another"))
        await batcher.drain()
        assert events == [0, 1, 2, "another", 3, 4, 5, 6, 7]
        assert [work.answer for work in works] == list(range(8))
        batcher.close()

    run_within(main())


@pytest.mark.parametrize("broken_at", [1, 5])
@pytest.mark.parametrize("raised, told", [(ValueError("x"), Internal), (InvalidInput("x"), InvalidInput)])
def test_a_deliver_that_fails_in_a_later_slice(
    item: Any, slow: Callable[[int], None], broken_at: int, raised: Exception, told: type[Exception]
) -> None:
    """Those answered keep their answers, the others get the error, and the next run is answered."""

    def deliver(works: list[Any], results: list[Any]) -> Iterator[None]:
        for at, _ in enumerate(in_steps(works, results)):
            if at + 1 == broken_at and len(works) > 1:
                raise raised
            yield

    async def main() -> None:
        slow(2)
        batcher = batcher_of("thread", echo, deliver, max_rows=8)
        works = [item(payload=at) for at in range(9)]
        for work in works:
            batcher.submit(work)
        await batcher.drain()
        assert [work.answer for work in works[:broken_at]] == list(range(broken_at))
        assert all(type(work.answer) is told for work in works[broken_at:8])
        assert works[8].answer == 8
        batcher.close()

    run_within(main())


def test_runs_do_not_get_far_ahead_of_their_answers(item: Any, slow: Callable[[int], None]) -> None:
    """Where answers cost more than runs, what is computed and not answered must not pile up, and what waits can be refused."""

    async def main() -> None:
        slow(2)
        ahead: list[int] = []

        async def compute(works: list[Any]) -> list[Any]:
            ahead.append(sum(not work.answers for work in asked) - batcher.queued_items)
            return echo(works)

        batcher: Any = Batcher(compute, in_steps, BatchPolicy(max_rows=8), coroutine=True)
        asked = [item(payload=at) for at in range(80)]
        for work in asked:
            batcher.submit(work)
        await batcher.drain()
        assert [work.answer for work in asked] == list(range(80))
        assert max(ahead) <= 3 * 8
        batcher.close()

    run_within(main())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 6), max_size=12), st.integers(1, 4), st.booleans())
def test_batches_are_answered_in_order_and_once(item: Any, sizes: list[int], slice_answers: int, at_once: bool) -> None:
    """Whatever the sizes of batches and slices; `written` is called for those alone that were not answered at once."""

    async def main() -> None:
        now = [0.0]
        real = answering._monotonic

        def clock() -> float:
            now[0] += answering.SLICE_S / (slice_answers + 0.5)
            return now[0]

        answering._monotonic = clock
        try:
            order: list[tuple[int, int]] = []
            written: list[int] = []
            done = asyncio.Event()

            def note() -> None:
                written.append(len(order))
                if not writer:
                    done.set()

            writer: Any = answering.Answering(in_steps, note)
            batches: list[list[Any]] = []
            for number, size in enumerate(sizes):
                batch = [item() for _ in range(size)]
                for at, work in enumerate(batch):
                    work.on_answer = lambda at=(number, at): order.append(at)
                batches.append(batch)
                writer.write(batch, echo(batch), None, at_once=at_once)
            unwritten = len(writer)
            assert not (at_once and unwritten)
            if writer:
                await done.wait()
            assert order == sorted(order)
            assert len(order) == sum(sizes)
            assert len(written) == unwritten
            assert all(len(work.answers) == 1 for batch in batches for work in batch)
        finally:
            answering._monotonic = real

    run_within(main())

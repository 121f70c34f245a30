"""The end: draining answers everybody, closing does too, whatever is under way."""

import asyncio
import threading
import time
from typing import Any

import pytest

from penstock.batcher import Batcher, BatchPolicy
from penstock.errors import Cancelled, NotReady
from penstock.testing.batching import MODES, Gate, answered, batcher_of, deliver_each, echo, run_within

every_mode = pytest.mark.parametrize("mode", MODES)


@every_mode
def test_drain(item: Any, mode: str) -> None:
    async def main() -> None:
        batcher = batcher_of(mode, echo, max_rows=1)
        await batcher.drain()  # before any work
        batcher = batcher_of(mode, echo, max_rows=1)
        works = [item(payload=at) for at in range(5)]
        for work in works:
            batcher.submit(work)
        drains = [asyncio.create_task(batcher.drain()) for _ in range(2)]
        await asyncio.sleep(0)
        refused = item()
        event = answered(refused)
        batcher.submit(refused)
        assert not refused.answers
        await event.wait()
        assert isinstance(refused.answer, NotReady)
        for drain in drains:
            await drain
        assert [work.answer for work in works] == list(range(5))
        await batcher.drain()
        batcher.close()
        batcher.close()

    run_within(main())


@every_mode
def test_drain_while_the_last_callers_leave(item: Any, mode: str) -> None:
    async def main() -> None:
        batcher = batcher_of(mode, echo)
        works = [item() for _ in range(3)]
        for work in works:
            batcher.submit(work)
            work.disconnected = True
        await batcher.drain()
        assert all(isinstance(work.answer, Cancelled) for work in works)
        batcher.close()

    run_within(main())


def test_close_answers_what_waits_and_lets_the_thread_finish(item: Any) -> None:
    async def main() -> None:
        gate = Gate()
        batcher = batcher_of("thread", gate.compute, max_rows=1)
        running, waiting = item(payload=1), item(deadline=time.monotonic() + 60)
        batcher.submit(running)
        await gate.entered.wait()
        batcher.submit(waiting)
        batcher.close()
        assert isinstance(waiting.answer, NotReady)
        gate.open.set()
        await batcher.drain()
        assert running.answer == 1

    run_within(main())


@pytest.mark.parametrize("begun", [True, False])
def test_close_cancels_coroutines_and_answers_their_works(item: Any, begun: bool) -> None:
    async def main() -> None:
        async def compute(works: list[Any]) -> None:
            await asyncio.Event().wait()

        batcher: Any = Batcher(compute, deliver_each, BatchPolicy(), coroutine=True)
        work = item()
        batcher.submit(work)
        if begun:
            for _ in range(3):
                await asyncio.sleep(0)
        else:
            batcher._take()  # the task exists and has not run
        batcher.close()
        await batcher.drain()
        assert isinstance(work.answer, NotReady)

    run_within(main())


def test_run_cancelled_from_within(item: Any) -> None:
    async def main() -> None:
        async def compute(works: list[Any]) -> None:
            raise asyncio.CancelledError

        batcher: Any = Batcher(compute, deliver_each, BatchPolicy(), coroutine=True)
        work = item()
        batcher.submit(work)
        await batcher.drain()
        assert isinstance(work.answer, Cancelled)
        batcher.close()

    run_within(main())


def test_run_that_outlives_its_loop(item: Any, caplog: pytest.LogCaptureFixture) -> None:
    release, finished = threading.Event(), threading.Event()

    async def main() -> None:
        entered = asyncio.Event()
        loop = asyncio.get_running_loop()

        def compute(works: list[Any]) -> list[Any]:
            loop.call_soon_threadsafe(entered.set)
            assert release.wait(20)
            return echo(works)

        batcher = batcher_of("thread", compute)
        batcher.submit(item())
        await entered.wait()
        batcher._worker.run(finished.set)
        batcher.close()

    run_within(main())
    release.set()
    assert finished.wait(20)
    assert "run ended after its event loop was closed" in caplog.text

"""What runs together, and where: every work is answered exactly once, with its own answer, whatever happens around it."""

import asyncio
import threading
import time
from typing import Any

import pytest

from penstock.batcher import Batcher, BatchPolicy
from penstock.testing.batching import MODES, Gate, answered, batcher_of, deliver_each, echo, run_within

every_mode = pytest.mark.parametrize("mode", MODES)


@every_mode
def test_what_waits_together_runs_together(item: Any, mode: str) -> None:
    async def main() -> None:
        sizes: list[int] = []

        def compute(works: list[Any]) -> list[Any]:
            sizes.append(len(works))
            return echo(works)

        batcher = batcher_of(mode, compute, max_rows=8)
        works = [item(payload=at) for at in range(20)]
        for work in works:
            batcher.submit(work)
        assert (batcher.queued_items, batcher.queued_bytes, batcher.queued_rows) == (20, 160, 20)
        assert not any(work.answers for work in works)
        await batcher.drain()
        assert [work.answer for work in works] == list(range(20))
        assert sizes == [8, 8, 4]
        assert (batcher.queued_items, batcher.queued_bytes, batcher.queued_rows, batcher.in_flight) == (0, 0, 0, 0)
        batcher.close()

    run_within(main())


def test_the_most_urgent_goes_first(item: Any) -> None:
    async def main() -> None:
        order: list[Any] = []

        def compute(works: list[Any]) -> list[Any]:
            order.extend(echo(works))
            return echo(works)

        batcher = batcher_of("inline", compute, max_rows=1)
        soon = time.monotonic() + 10
        for payload, deadline, priority in (("d", None, 0), ("c", soon + 1, 0), ("b", soon, 0), ("e", soon, 1), ("a", None, -1)):
            batcher.submit(item(payload=payload, deadline=deadline, priority=priority))
        await batcher.drain()
        assert order == list("abcde")
        batcher.close()

    run_within(main())


def test_next_run_starts_before_answers_are_written(item: Any) -> None:
    async def main() -> None:
        in_flight: list[int] = []
        gate = Gate()

        def deliver(works: list[Any], results: list[Any]) -> None:
            in_flight.append(batcher.in_flight)
            deliver_each(works, results)

        batcher = batcher_of("thread", gate.compute, deliver, max_rows=1)
        for _ in range(3):
            batcher.submit(item())
        await gate.entered.wait()
        gate.open.set()
        await batcher.drain()
        assert in_flight == [1, 1, 0]
        batcher.close()

    run_within(main())


def test_inline_runs_hand_the_loop_back(item: Any) -> None:
    async def main() -> None:
        events: list[str] = []

        def compute(works: list[Any]) -> list[Any]:
            events.append("run")
            asyncio.get_running_loop().call_soon(events.append, "others")
            return echo(works)

        batcher = batcher_of("inline", compute, max_rows=1)
        for _ in range(3):
            batcher.submit(item())
        await batcher.drain()
        assert events[:4] == ["run", "others", "run", "others"]
        batcher.close()

    run_within(main())


def test_small_runs_inline_large_ones_in_the_thread(item: Any) -> None:
    async def main() -> None:
        threads: list[bool] = []

        def compute(works: list[Any]) -> list[Any]:
            threads.append(threading.current_thread() is threading.main_thread())
            return echo(works)

        batcher = batcher_of("inline", compute, inline_rows=2, max_rows=4)
        for rows in (2, 3):
            batcher.submit(item(rows))
        batcher.submit(item(2, key="other"))
        await batcher.drain()
        assert threads == [False, True] or threads == [True, False, True]
        batcher.close()

    run_within(main())


def test_nothing_runs_beside_a_run_in_the_thread(item: Any) -> None:
    """Even what is small enough for the loop waits its turn in the thread: compute never meets itself."""

    async def main() -> None:
        gate = Gate()
        batcher = batcher_of("thread", gate.compute, inline_rows=1, max_in_flight=2)
        large, small = item(2, payload=1), item(1, payload=2)
        batcher.submit(large)
        await gate.entered.wait()
        batcher.submit(small)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert batcher.in_flight == 2
        assert gate.batches == [[large]]
        gate.open.set()
        await batcher.drain()
        assert gate.batches == [[large], [small]]
        batcher.close()

    run_within(main())


def test_coroutines_in_flight_are_bounded(item: Any) -> None:
    async def main() -> None:
        running = most = 0
        release = asyncio.Event()

        async def compute(works: list[Any]) -> list[Any]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await release.wait()
            running -= 1
            return echo(works)

        batcher: Any = Batcher(compute, deliver_each, BatchPolicy(max_rows=1, max_in_flight=4), coroutine=True)
        works = [item(payload=at) for at in range(10)]
        for work in works:
            batcher.submit(work)
        for _ in range(3):
            await asyncio.sleep(0)
        assert (running, batcher.in_flight, batcher.queued_items) == (4, 4, 6)
        release.set()
        await batcher.drain()
        assert most == 4
        assert [work.answer for work in works] == list(range(10))
        batcher.close()

    run_within(main())


def test_waiting_for_company(item: Any) -> None:
    """With a delay a lone work waits for others, a full batch does not, nor does one whose deadline would pass."""

    async def main() -> None:
        sizes: list[int] = []

        def compute(works: list[Any]) -> list[Any]:
            sizes.append(len(works))
            return echo(works)

        batcher = batcher_of("inline", compute, max_rows=3, max_delay_ms=60_000.0)
        for _ in range(2):
            batcher.submit(item())
        await asyncio.sleep(0)
        assert sizes == []
        batcher.submit(item())
        await asyncio.sleep(0)
        assert sizes == [3]
        hurried = item(deadline=time.monotonic() + 20)
        batcher.submit(item())
        batcher.submit(hurried)
        await asyncio.sleep(0)
        assert sizes == [3, 2]
        for _ in range(4):
            batcher.submit(item())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sizes == [3, 2, 3]  # the fourth waits for company again
        await batcher.drain()  # and drain does not wait
        assert sizes == [3, 2, 3, 1]
        batcher.close()

        short = batcher_of("inline", compute, max_rows=3, max_delay_ms=5.0)
        lone = item()
        event = answered(lone)
        short.submit(lone)
        await event.wait()
        assert sizes[-1] == 1
        short.close()

    run_within(main())


@every_mode
def test_metrics(item: Any, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    """Runs are counted; metrics that fail are logged and stop nobody."""

    class Counter:
        def __init__(self) -> None:
            self.seen: list[tuple[int, int, int]] = []

        def observe_batch(self, rows: int, items: int, waits_s: list[float]) -> None:
            assert all(wait >= 0 for wait in waits_s)
            self.seen.append((rows, items, len(waits_s)))
            if len(self.seen) > 1:
                raise RuntimeError

    async def main() -> None:
        counter = Counter()
        batcher = batcher_of(mode, echo, metrics=counter, max_rows=4)
        works = [item(2, payload=at) for at in range(3)]
        for work in works:
            batcher.submit(work)
        await batcher.drain()
        assert counter.seen == [(4, 2, 2), (2, 1, 1)]
        assert [work.answer for work in works] == [0, 1, 2]
        batcher.close()

    run_within(main())
    assert "counting a batch failed" in caplog.text


def test_answers_that_submit_more(item: Any) -> None:
    """A caller whose answer brings its next request (pipelining) is served like any other."""

    async def main() -> None:
        batcher = batcher_of("inline", echo)
        done = asyncio.Event()

        def again(left: int) -> None:
            if not left:
                done.set()
                return
            work = item(payload=left)
            work.on_answer = lambda: again(left - 1)
            batcher.submit(work)

        again(5)
        await done.wait()
        await batcher.drain()
        batcher.close()

    run_within(main())


def test_policy_is_shown() -> None:
    policy = BatchPolicy(max_rows=3)
    assert Batcher(echo, deliver_each, policy).policy is policy

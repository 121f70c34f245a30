"""The asyncio shell: every work is answered exactly once, with its own answer, whatever happens around it."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.batcher import Batcher, BatchPolicy, answer_each
from penstock.errors import (
    Cancelled,
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotReady,
    Overloaded,
    PenstockError,
    TooLarge,
)

MODES = ["inline", "thread", "coroutine"]
every_mode = pytest.mark.parametrize("mode", MODES)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 30))


def batcher_of(mode: str, compute: Callable[[list[Any]], Any], deliver: Any = None, metrics: Any = None, **policy: Any) -> Any:
    """A batcher that runs `compute` (a plain function) in the given mode and answers each work with its own item."""

    async def as_coroutine(works: list[Any]) -> Any:
        await asyncio.sleep(0)
        return compute(works)

    policy.setdefault("inline_rows", 10**6 if mode == "inline" else 0)
    chosen = as_coroutine if mode == "coroutine" else compute
    return Batcher(chosen, deliver or deliver_each, BatchPolicy(**policy), metrics=metrics, coroutine=mode == "coroutine")


def deliver_each(works: list[Any], results: list[Any]) -> None:
    for work, result in zip(works, results, strict=True):
        work.put(result)


def echo(works: list[Any]) -> list[Any]:
    return [work.payload for work in works]


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

    run(main())


@every_mode
def test_compute_that_raises_harms_its_batch_alone(item: Any, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        def compute(works: list[Any]) -> list[Any]:
            if works[0].key == "refused":
                raise InvalidInput("no", field="inputs[0]")
            if works[0].key == "broken":
                raise ZeroDivisionError("secret")
            return echo(works)

        batcher = batcher_of(mode, compute)
        refused, broken, good = ([item(key=key, payload=1) for _ in range(3)] for key in ("refused", "broken", "good"))
        for trio in zip(refused, broken, good, strict=True):
            for work in trio:
                batcher.submit(work)
        await batcher.drain()
        assert all(isinstance(work.answer, InvalidInput) for work in refused)
        assert all(type(work.answer) is Internal and "secret" not in str(work.answer) for work in broken)
        assert [work.answer for work in good] == [1, 1, 1]
        batcher.close()

    with caplog.at_level(logging.ERROR, "penstock.batcher"):
        run(main())
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


@every_mode
def test_coroutine_or_call_that_fails_at_once(item: Any, mode: str) -> None:
    """A compute that is not even callable as promised still answers everybody."""

    async def main() -> None:
        def compute(works: list[Any]) -> Any:
            raise TypeError

        batcher: Any = Batcher(compute, deliver_each, BatchPolicy(inline_rows=mode == "inline"), coroutine=mode == "coroutine")
        work = item()
        batcher.submit(work)
        await batcher.drain()
        assert type(work.answer) is Internal
        batcher.close()

    run(main())


@every_mode
@pytest.mark.parametrize("raised, told", [(ValueError("x"), Internal), (InvalidInput("x"), InvalidInput)])
def test_deliver_that_raises_half_way(item: Any, mode: str, raised: Exception, told: type[PenstockError]) -> None:
    """Those already answered keep their answer, the others get an error, and the next batch is served."""

    async def main() -> None:
        def deliver(works: list[Any], results: list[Any]) -> None:
            for work, result in zip(works, results, strict=True):
                if result == "bad":
                    raise raised
                work.put(result)

        batcher = batcher_of(mode, echo, deliver, max_rows=3)
        works = [item(payload=payload) for payload in ("a", "bad", "b", "c")]
        for work in works:
            batcher.submit(work)
        await batcher.drain()
        assert works[0].answer == "a"
        assert type(works[1].answer) is type(works[2].answer) is told
        assert works[3].answer == "c"
        batcher.close()

    run(main())


@pytest.mark.parametrize("raised, told", [(ValueError("x"), Internal), (InvalidInput("x"), InvalidInput)])
def test_answer_each_keeps_failures_apart(item: Any, raised: Exception, told: type[PenstockError]) -> None:
    def answer(at: int, work: Any) -> None:
        if work.payload == "bad":
            raise raised
        work.put(at)

    works = [item(payload=payload) for payload in ("a", "bad", "b")]
    answer_each(works, answer)
    assert (works[0].answer, type(works[1].answer), works[2].answer) == (0, told, 2)


def test_work_that_cannot_take_its_error(item: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        def compute(works: list[Any]) -> list[Any]:
            raise InvalidInput("no")

        def burst() -> None:
            raise ConnectionResetError

        batcher = batcher_of("inline", compute)
        works = [item(), item()]
        works[0].on_answer = burst
        for work in works:
            batcher.submit(work)
        await batcher.drain()
        assert all(isinstance(work.answer, InvalidInput) for work in works)
        batcher.close()

    run(main())
    assert "answering a request with an error failed" in caplog.text


@every_mode
def test_callers_that_leave_and_deadlines_that_pass(item: Any, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("penstock.batcher.batcher._monotonic", lambda: clock[0])

    async def main() -> None:
        seen: list[Any] = []

        def compute(works: list[Any]) -> list[Any]:
            seen.extend(works)
            return echo(works)

        batcher = batcher_of(mode, compute)
        gone, late, stale, good = item(), item(deadline=1000.0), item(deadline=1001.0), item(payload=1, deadline=1003.0)
        for work in (gone, late, stale, good):
            batcher.submit(work)
        gone.disconnected = True
        clock[0] = 1002.0
        await batcher.drain()
        assert isinstance(gone.answer, Cancelled)
        assert isinstance(late.answer, DeadlineExceeded)
        assert isinstance(stale.answer, DeadlineExceeded)
        assert good.answer == 1
        assert seen == [good]
        batcher.close()

    run(main())


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

    run(main())


class Gate:
    """A compute in a thread or a task that a test holds open."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.open = threading.Event()
        self.batches: list[list[Any]] = []

    def compute(self, works: list[Any]) -> list[Any]:
        self.batches.append(list(works))
        self.loop.call_soon_threadsafe(self.entered.set)
        assert self.open.wait(20)
        return echo(works)


def answered(work: Any) -> asyncio.Event:
    event = asyncio.Event()
    work.on_answer = event.set
    return event


def test_deadline_passes_behind_a_long_run(item: Any) -> None:
    """Who waits behind a run is told at the deadline, not when the run ends; an earlier deadline moves the timer forward."""

    async def main() -> None:
        gate = Gate()
        batcher = batcher_of("thread", gate.compute)
        first = item(payload=1)
        batcher.submit(first)
        await gate.entered.wait()
        now = time.monotonic()
        later, sooner, patient = item(deadline=now + 0.06), item(deadline=now + 0.02), item(payload=2)
        events = [answered(later), answered(sooner)]
        for work in (patient, later, sooner):
            batcher.submit(work)
        for event in events:
            await event.wait()
        assert isinstance(later.answer, DeadlineExceeded)
        assert isinstance(sooner.answer, DeadlineExceeded)
        assert not first.answers
        assert batcher.queued_items == 1
        gate.open.set()
        await batcher.drain()
        assert (first.answer, patient.answer) == (1, 2)
        batcher.close()

    run(main())


def test_deadlines_of_those_left_over_by_a_full_batch(item: Any) -> None:
    async def main() -> None:
        gate = Gate()
        batcher = batcher_of("thread", gate.compute, max_rows=1)
        served, left = item(payload=1), item(deadline=time.monotonic() + 0.05, priority=1)
        event = answered(left)
        batcher.submit(served)
        batcher.submit(left)
        await event.wait()
        assert isinstance(left.answer, DeadlineExceeded)
        gate.open.set()
        await batcher.drain()
        assert served.answer == 1
        batcher.close()

    run(main())


def test_full_queue(item: Any) -> None:
    """The one too many is told so, later, and with an estimate; callers that left make room."""

    async def main() -> None:
        gate = Gate()
        batcher = batcher_of("thread", gate.compute, max_queue_items=2, max_queue_bytes=100)
        batcher.submit(item())
        await gate.entered.wait()
        waiting, leaving, refused, huge = item(payload=1), item(), item(), item(nbytes=101)
        for work in (waiting, leaving, refused, huge):
            batcher.submit(work)
        assert not refused.answers
        events = [answered(refused), answered(huge)]
        for event in events:
            await event.wait()
        assert isinstance(refused.answer, Overloaded)
        assert refused.answer.retry_after_s == 1.0  # nothing has been measured yet
        assert isinstance(huge.answer, TooLarge)
        leaving.disconnected = True
        batcher._queue._swept = 0.0  # the last look was long ago
        late = item(payload=2)
        batcher.submit(late)
        assert isinstance(leaving.answer, Cancelled)
        gate.open.set()
        await batcher.drain()
        assert (waiting.answer, late.answer) == (1, 2)
        assert batcher._rate.drain_s(100) != 1.0
        batcher.close()

    run(main())


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

    run(main())


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

    run(main())


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

    run(main())


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

    run(main())


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

    run(main())


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

    run(main())


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

    run(main())


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

    run(main())


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

    run(main())


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

    run(main())


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

    run(main())


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

    run(main())
    release.set()
    assert finished.wait(20)
    assert "run ended after its event loop was closed" in caplog.text


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

    run(main())
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

    run(main())


def test_policy_is_shown() -> None:
    policy = BatchPolicy(max_rows=3)
    assert Batcher(echo, deliver_each, policy).policy is policy


works_given = st.lists(
    st.fixed_dictionaries(
        {
            "rows": st.integers(0, 5),
            "nbytes": st.integers(0, 60),
            "key": st.sampled_from(["a", "b", None, "refuse", "break"]),
            "deadline": st.sampled_from([None, None, -1.0, 0.0005, 30.0]),
            "priority": st.sampled_from([0, 0, 1]),
            "leaves": st.booleans(),
            "pause": st.booleans(),
        }
    ),
    max_size=24,
)


@settings(max_examples=60, deadline=None)
@given(
    works_given,
    st.sampled_from(MODES),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 10),
    st.sampled_from([0.0, 0.0, 1.0]),
    st.booleans(),
)
def test_everybody_is_answered_once(
    item: Any, given_works: Any, mode: str, max_rows: int, in_flight: int, items: int, delay: float, bad_deliver: bool
) -> None:
    """Any mixture of callers, faults and policies: one answer each, their own, and nothing is left behind."""

    def compute(works: list[Any]) -> list[Any]:
        assert len({work.key for work in works}) == 1
        assert len(works) == 1 or sum(work.rows for work in works) <= max_rows
        if works[0].key == "refuse":
            raise InvalidInput("no")
        if works[0].key == "break":
            raise KeyError
        return echo(works)

    def deliver(works: list[Any], results: list[Any]) -> None:
        for work, result in zip(works, results, strict=True):
            if bad_deliver and result % 5 == 4:
                raise RuntimeError
            work.put(result)

    async def main() -> None:
        policy = {"max_rows": max_rows, "max_in_flight": in_flight, "max_queue_items": items, "max_queue_bytes": 100}
        batcher = batcher_of(mode, compute, deliver, max_delay_ms=delay, **policy)
        works = []
        for at, choice in enumerate(given_works):
            deadline = choice["deadline"]
            work = item(
                choice["rows"],
                nbytes=choice["nbytes"],
                key=choice["key"],
                deadline=None if deadline is None else time.monotonic() + deadline,
                priority=choice["priority"],
                payload=at,
            )
            works.append(work)
            batcher.submit(work)
            assert not work.answers
            assert batcher.queued_items <= items
            assert batcher.queued_bytes <= 100
            work.disconnected = choice["leaves"]
            if choice["pause"]:
                await asyncio.sleep(0)
        await batcher.drain()
        await asyncio.sleep(0)  # refusals are told in the loop's next turn
        assert (batcher.queued_items, batcher.queued_bytes, batcher.queued_rows, batcher.in_flight) == (0, 0, 0, 0)
        batcher.close()
        for at, work in enumerate(works):
            assert work.answer == at or isinstance(work.answer, PenstockError)

    logging.disable(logging.CRITICAL)
    try:
        run(main())
    finally:
        logging.disable(logging.NOTSET)

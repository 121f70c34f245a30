"""Deadlines that pass, callers that leave, queues that are full."""

import time
from typing import Any

import pytest

from penstock.errors import Cancelled, DeadlineExceeded, Overloaded, TooLarge
from penstock.testing.batching import MODES, Gate, answered, batcher_of, echo, run_within

every_mode = pytest.mark.parametrize("mode", MODES)


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

    run_within(main())


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

    run_within(main())


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

    run_within(main())


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

    run_within(main())

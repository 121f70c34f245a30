"""Works that come one at a time run at once, where the policy allows it; works that come together never do."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from penstock.batcher import Batcher, BatchPolicy
from penstock.batcher import batcher as module
from penstock.errors import DeadlineExceeded, Internal


class Clock:
    """The batcher's clock, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.monotonic()
        monkeypatch.setattr(module, "_monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def batcher(runs: list[int], *, direct: float = 50.0, compute: Callable[[list[Any]], Any] | None = None) -> Batcher[Any, Any]:
    def record(works: list[Any]) -> Any:
        runs.append(len(works))
        return compute(works) if compute else None

    def deliver(works: list[Any], _: Any) -> None:
        for work in works:
            work.put("done")

    return Batcher(record, deliver, BatchPolicy(inline_rows=8, direct_after_us=direct))


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def warmed(found: Batcher[Any, Any], item: Any, clock: Clock) -> None:
    """One work by itself, answered; then enough time for the next one to run at once."""
    found.submit(item())
    await turns()
    clock.now += 1.0


@pytest.mark.parametrize(("direct", "at_once"), [(50.0, True), (0.0, False)])
def test_a_work_by_itself_is_answered_within_submit_only_where_allowed(
    item: Any, clock: Clock, direct: float, at_once: bool
) -> None:
    async def main() -> None:
        found = batcher([], direct=direct)
        first = item()
        found.submit(first)
        assert first.answers == []
        await turns()
        clock.now += 1.0
        second = item()
        found.submit(second)
        assert bool(second.answers) is at_once
        await turns()
        assert (first.answer, second.answer) == ("done", "done")
        await found.drain()

    asyncio.run(main())


def test_works_of_one_turn_share_a_run_and_end_it(item: Any, clock: Clock) -> None:
    async def main() -> None:
        runs: list[int] = []
        found = batcher(runs)
        await warmed(found, item, clock)
        items = [item() for _ in range(5)]
        for one in items:
            found.submit(one)
            clock.now += 10e-6
        await turns()
        # The first ran at once; the others came too soon after it, and together.
        assert runs == [1, 1, 4]
        clock.now += 1.0
        later = item()
        found.submit(later)
        assert later.answers == []
        await turns()
        assert [one.answer for one in [*items, later]] == ["done"] * 6

    asyncio.run(main())


def test_a_work_brought_by_an_answer_does_not_nest(item: Any, clock: Clock) -> None:
    async def main() -> None:
        runs: list[int] = []
        found = batcher(runs)
        await warmed(found, item, clock)
        first, second = item(), item()

        def next_one() -> None:
            clock.now += 1.0
            found.submit(second)

        first.on_answer = next_one
        found.submit(first)
        assert first.answer == "done"
        assert second.answers == []
        await turns()
        assert second.answer == "done"

    asyncio.run(main())


@pytest.mark.parametrize("changed", [{"rows": 9}, {"nbytes": 1 << 40}, {"deadline": 0.0}])
def test_what_may_not_run_inline_takes_the_queue(item: Any, clock: Clock, changed: dict[str, Any]) -> None:
    async def main() -> None:
        found = batcher([])
        await warmed(found, item, clock)
        work = item(**changed)
        found.submit(work)
        assert work.answers == []
        await found.drain()
        await turns()
        assert len(work.answers) == 1
        if "deadline" in changed:
            assert isinstance(work.answer, DeadlineExceeded)

    asyncio.run(main())


def test_a_run_that_fails_answers_its_work(item: Any, clock: Clock) -> None:
    def broken(works: list[Any]) -> Any:
        if works[0].payload == "bad":
            raise RuntimeError("broke")

    async def main() -> None:
        found = batcher([], compute=broken)
        await warmed(found, item, clock)
        work = item(payload="bad")
        found.submit(work)
        assert isinstance(work.answer, Internal)
        assert found.in_flight == 0

    asyncio.run(main())

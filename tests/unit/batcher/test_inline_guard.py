"""A model that was cheap when it was measured and turns out dear leaves the event loop; one on a busy machine does not."""

import asyncio
import threading
import time
from typing import Any

import pytest

from penstock.batcher import Batcher, BatchPolicy, batcher
from penstock.batcher.inline import MOST_S, WATCHED_RUNS, InlineGuard
from penstock.dataplane import Context

GRACE_MS = 3.0


class Item:
    rows, nbytes, key, disconnected = 1, 1, "k", False

    def __init__(self) -> None:
        self.context = Context("1")

    def error(self, error: Any) -> None:
        raise error


class Clocks:
    """The wall's clock and the thread's, moved by hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wall, self.cpu = time.monotonic(), 0.0
        self.looked = 0
        patch.setattr(batcher, "_monotonic", lambda: self.wall)
        patch.setattr(batcher, "_thread_time", self._thread_time)

    def _thread_time(self) -> float:
        self.looked += 1
        return self.cpu

    def spend(self, wall_s: float, cpu_s: float) -> None:
        self.wall += wall_s
        self.cpu += cpu_s


def inline_runs(clocks: Clocks, costs: list[tuple[float, float]]) -> list[bool]:
    """Whether each run, of the wall and CPU times given, took place on the loop's thread."""
    loops_thread = threading.get_ident()
    inline: list[bool] = []
    waiting = iter(costs)

    def compute(_: list[Item]) -> None:
        inline.append(threading.get_ident() == loops_thread)
        clocks.spend(*next(waiting))

    async def run() -> None:
        answered: asyncio.Queue[None] = asyncio.Queue()
        policy = BatchPolicy(inline_rows=4, inline_grace_ms=GRACE_MS)
        made: Batcher[Item, None] = Batcher(compute, lambda works, _: answered.put_nowait(None), policy)
        for _ in costs:
            made.submit(Item())
            await answered.get()
        await made.drain()
        made.close()

    asyncio.run(run())
    return inline


def test_a_dear_input_that_comes_again_moves_its_model_to_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    costs = ([(0.0001, 0.0001)] * 9 + [(0.2, 0.2)]) * 5
    inline = inline_runs(clocks, costs)
    # The first is noticed, the second and third are counted; from then on the loop is free.
    assert inline == [True] * 30 + [False] * 20


@pytest.mark.parametrize("cost", [(0.0001, 0.0001), (0.5, 0.0001)])
def test_fast_runs_and_stalls_of_the_machine_stay(cost: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    assert all(inline_runs(clocks, [cost] * 200))
    # Runs that keep to their promise are not looked at at all.
    assert (clocks.looked == 0) == (cost[0] < GRACE_MS / 1e3)


def test_the_watch_ends_and_forgets() -> None:
    guard = InlineGuard(4, 0.003)
    guard.watch()
    assert not guard.note(0.2)
    assert not any(guard.note(0.001) for _ in range(WATCHED_RUNS))
    assert guard.watched == 0
    guard.watch()
    assert not guard.note(0.2)
    assert guard.note(MOST_S)
    assert guard.rows == 0


def test_without_a_grace_nothing_is_watched() -> None:
    guard = InlineGuard(4, 0.0)
    assert guard.grace_s > 1e9

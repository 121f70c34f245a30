"""Runs of a batcher as tests make them: a plain function as compute, inline, in a thread or as a coroutine; a gate to hold it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from penstock.batcher import Batcher, BatchPolicy

MODES = ("inline", "thread", "coroutine")


def run_within(main: Coroutine[Any, Any, None], seconds: float = 30.0) -> None:
    """Run a test's coroutine on a loop of its own. Raises TimeoutError."""
    asyncio.run(asyncio.wait_for(main, seconds))


def batcher_of(mode: str, compute: Callable[[list[Any]], Any], deliver: Any = None, metrics: Any = None, **policy: Any) -> Any:
    """A batcher that runs `compute` (a plain function) in the given mode and answers each work with its own item."""

    async def as_coroutine(works: list[Any]) -> Any:
        await asyncio.sleep(0)
        return compute(works)

    policy.setdefault("inline_rows", 10**6 if mode == "inline" else 0)
    chosen = as_coroutine if mode == "coroutine" else compute
    return Batcher(chosen, deliver or deliver_each, BatchPolicy(**policy), metrics=metrics, coroutine=mode == "coroutine")


def deliver_each(works: list[Any], results: list[Any]) -> None:
    """Answer each work with its own result."""
    for work, result in zip(works, results, strict=True):
        work.put(result)


def echo(works: list[Any]) -> list[Any]:
    """A compute: each work's payload is its answer."""
    return [work.payload for work in works]


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
    """Set once a work has its answer."""
    event = asyncio.Event()
    work.on_answer = event.set
    return event

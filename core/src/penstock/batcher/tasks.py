"""The batcher's runs that are coroutines, a task each: whatever becomes of one, its works are answered.

start --task--> returns, raises, is cancelled --finish(works, began, result, error)--> the next run, and answers
"""

import asyncio
from collections.abc import Callable
from typing import Any, Generic

from penstock.batcher.work import W, answerable
from penstock.errors import Cancelled, NotReady, PenstockError

Finish = Callable[[list[W], float, Any, PenstockError | None], None]


class Tasks(Generic[W]):
    """Runs `compute(works)`, a coroutine, beside each other on the event loop. `finish` is told of each once, on the loop: works,
    when the run began, and its result or its error."""

    __slots__ = ("_closed", "_compute", "_finish", "_running")

    def __init__(self, compute: Callable[[list[W]], Any], finish: Finish[W]) -> None:
        self._compute = compute
        self._finish = finish
        self._running: set[asyncio.Future[Any]] = set()
        self._closed = False

    def start(self, loop: asyncio.AbstractEventLoop, works: list[W], began: float) -> None:
        """Begin a run. Never raises."""
        try:
            task = asyncio.ensure_future(self._compute(works), loop=loop)
        except Exception as caught:
            loop.call_soon(self._finish, works, began, None, answerable(caught))
            return
        self._running.add(task)
        task.add_done_callback(lambda done: self._end(works, began, done))

    def close(self) -> None:
        """Cancel every run; its works are answered with NotReady."""
        self._closed = True
        for task in self._running:
            task.cancel()

    def _end(self, works: list[W], began: float, task: "asyncio.Future[Any]") -> None:
        self._running.discard(task)
        error: PenstockError | None = None
        if task.cancelled():
            error = NotReady("the server is shutting down") if self._closed else Cancelled("the run was cancelled")
        elif (caught := task.exception()) is not None:
            error = answerable(caught)
        self._finish(works, began, task.result() if error is None else None, error)

"""The answers of runs that are over, written a slice at a time, so that the loop reads its sockets in between.

    a run ends --> write --> answers for SLICE_S --+-- all written --> written()
                                  ^                +-- more: after the loop's next look at its sockets
                                  +----------------------------------+

A large run's answers take milliseconds to write, and whoever asks in the meantime, if only to be refused, would wait for all of
them. Each work is answered exactly once; batches in the order in which they are given in, but that those to be answered at once,
and errors, go ahead.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic

from penstock.batcher.work import W, answerable, fail
from penstock.errors import PenstockError

SLICE_S = 0.001
"""How long a model's answers are written before the loop has its turn; a single one may take longer."""

Deliver = Callable[[list[W], Any], Iterator[None] | None]
"""Answers works with a run's result: all of them when it is called or, if it returns an iterator, some at each step of that."""

_monotonic = time.monotonic


class Answering(Generic[W]):
    """Batches whose answers are not all written; its length is their number. `written` is called after each of them that did not
    get all of its answers within `write`. Used on one event loop's thread."""

    __slots__ = ("_deliver", "_unwritten", "_written")

    def __init__(self, deliver: Deliver[W], written: Callable[[], None]) -> None:
        self._deliver = deliver
        self._written = written
        self._unwritten: deque[tuple[list[W], Iterator[None]]] = deque()

    def __len__(self) -> int:
        return len(self._unwritten)

    def write(self, works: list[W], result: Any, error: PenstockError | None, *, at_once: bool = False) -> None:
        """Answer works with their run's result or its error; `at_once`: with all that it takes, before this returns. A deliver
        that fails is the error of all who have no answer yet."""
        if error is None:
            try:
                steps = self._deliver(works, result)
                if steps is None:
                    return
                if at_once:
                    for _ in steps:
                        pass
                elif self._unwritten:
                    self._unwritten.append((works, steps))
                elif not _advance(steps):
                    self._unwritten.append((works, steps))
                    asyncio.get_running_loop().call_soon(self._go_on)
                return
            except Exception as caught:
                error = answerable(caught)
        for work in works:
            fail(work, error)

    def _go_on(self) -> None:
        """Another slice."""
        works, steps = self._unwritten[0]
        try:
            over = _advance(steps)
        except Exception as caught:
            over, error = True, answerable(caught)
            for work in works:
                fail(work, error)
        if over:
            self._unwritten.popleft()
        if self._unwritten:
            asyncio.get_running_loop().call_soon(self._go_on)
        if over:
            self._written()


def _advance(steps: Iterator[None]) -> bool:
    """Take steps until a slice's time is over; whether they are all taken."""
    until = _monotonic() + SLICE_S
    return all(_monotonic() < until for _ in steps)

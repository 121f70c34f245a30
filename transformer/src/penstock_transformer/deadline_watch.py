"""Deadlines of callers whose batch is under way: each is answered when its own time is up, while the others wait on."""

import asyncio
import time
from collections.abc import Sequence

from penstock.errors import DeadlineExceeded
from penstock_transformer.work import PredictWork


class DeadlineWatch:
    """One timer for a batch, set to the earliest deadline. Stop it when the batch is done."""

    __slots__ = ("_timer", "_works")

    def __init__(self, works: Sequence[PredictWork]) -> None:
        self._works = works
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def stop(self) -> None:
        """No more answers from here."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        waiting = [w.context.deadline for w in self._works if w.waiting and w.context.deadline is not None]
        if waiting:
            left = min(waiting) - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(0.001, left), self._fire)

    def _fire(self) -> None:
        now = time.monotonic()
        for work in self._works:
            if work.waiting and work.context.deadline is not None and work.context.deadline <= now:
                work.error(DeadlineExceeded("the deadline passed before the prediction was made"))
        self._timer = None
        self._arm()

"""The batcher's one timer: whoever wants to be woken sets it, and the earliest moment that anybody asked for is kept.

Invariant: at most one timer of the loop is armed; one that went off, or was cleared, is not.
"""

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls `ring` once, at the earliest moment that was set since it last rang. Used on one event loop's thread."""

    __slots__ = ("_at", "_ring", "_timer")

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0

    @property
    def is_set(self) -> bool:
        """Whether it will ring."""
        return self._timer is not None

    def set(self, when: float, now: float) -> None:
        """Ring at `when`, in s of the clock that `now` is of, unless it rings sooner anyway; never in this turn of the loop."""
        if self._timer is not None:
            if self._at <= when:
                return
            self._timer.cancel()
        self._at = when
        self._timer = asyncio.get_running_loop().call_later(max(when - now, 0.001), self._rings)

    def clear(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rings(self) -> None:
        self._timer = None
        self._ring()

"""How fast large bodies are given back, from which a large request that finds no room is told when to come back."""

import time

from penstock.batcher.rate import UNMEASURED_S, within_reason

_SHORTEST_LOOK_S = 0.2
_LONGEST_LOOK_S = 10.0


class ReleaseRate:
    """`total`: bytes given back so far, counted up by whoever gives back. Measured from one refusal to the next, so that it costs
    nothing where nobody is refused."""

    __slots__ = ("_rate", "_seen_at", "_seen_total", "total")

    def __init__(self) -> None:
        self.total = 0
        self._seen_at = 0.0
        self._seen_total = 0
        self._rate = 0.0

    def wait_s(self, missing: int, now: float | None = None) -> float:
        """When `missing` bytes will have been given back, by the speed of the last seconds; a second if that is not known."""
        now = time.monotonic() if now is None else now
        looked_s = now - self._seen_at
        if looked_s >= _SHORTEST_LOOK_S:
            # What was given back over a long time that saw no refusals says nothing about now.
            self._rate = (self.total - self._seen_total) / looked_s if looked_s <= _LONGEST_LOOK_S else 0.0
            self._seen_at, self._seen_total = now, self.total
        return within_reason(missing / self._rate) if self._rate else UNMEASURED_S

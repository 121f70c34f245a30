"""The bounds of a batcher: how much may wait, how much goes into one run, and where a run takes place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Bounds of one batcher; `inline_rows` comes from the cost profile that a predictor measures at load."""

    max_rows: int = 64
    """Rows of one run. A work with more runs alone: splitting it is the runner's matter. 1 switches batching off."""
    max_in_flight: int = 1
    """Runs handed out at once. A coroutine gains from 4 (store and predictor have latency); a worker thread runs them in turn."""
    max_queue_items: int = 1024
    """Works that may wait; one more is refused with Overloaded."""
    max_queue_bytes: int = 64 * 1024 * 1024
    """Bytes of their data together."""
    max_delay_ms: float = 0.0
    """How long a run that is not full waits for company. 0, not at all, is best whenever requests come faster than runs end."""
    follow_delay_ms: float = 0.0
    """The same while another run is in flight: nobody's first run waits, and the next ones are worth their fixed cost. It ends
    early when the last run in flight does. 0: as `max_delay_ms`."""
    inline_rows: int = 0
    """Runs of up to so many rows take place on the event loop itself: right below about 0.3 ms. 0: none."""
    inline_grace_ms: float = 0.0
    """A model whose runs on the event loop turn out to take more than this, again and again, leaves it for the worker thread. 0:
    never."""
    direct_after_us: float = 0.0
    """A work that comes so long after a run of a single work ended, and may run inline, runs at once, within `submit`: callers
    that come one at a time then pay no turn of the event loop for the queue. Above the time between two works of one turn. 0:
    off."""
    patience_s: float = 30.0
    """A work without a deadline is ordered as if it had one this long after its arrival, so that a steady stream of works with
    deadlines cannot hold it up for ever. It never expires."""

    def __post_init__(self) -> None:
        if min(self.max_rows, self.max_in_flight, self.max_queue_items, self.max_queue_bytes) < 1:
            raise ValueError("max_rows, max_in_flight, max_queue_items and max_queue_bytes must be at least 1")
        if min(self.max_delay_ms, self.follow_delay_ms, self.inline_rows, self.inline_grace_ms) < 0 or self.patience_s <= 0:
            raise ValueError("delays, inline_rows and inline_grace_ms must not be negative, patience_s must be positive")

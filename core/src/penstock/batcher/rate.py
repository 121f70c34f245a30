"""The recent speed of service: how long a newcomer would wait, and when a refused caller should come back.

    started, finished --> interval (between the ends of runs) --+--> wait_s: is there time enough for one more?
                          latency (of one run)                  +--> drain_s: when will what waits now be gone?
                          items of a run that left some behind -+

Intervals are measured between the ends of successive runs while there was work, so runs that overlap count as the speed-up they
are, and idle time does not count. Times are given in, in seconds of one monotonic clock.
"""

UNMEASURED_S = 1.0
LONGEST_S = 60.0
SHORTEST_S = 0.01
_WEIGHT = 0.2


class ServiceRate:
    """Averages over the last handful of runs. `busy`: how many runs are in progress. `interval_s`: between the ends of two runs.

    All averages are 0 until measured.
    """

    __slots__ = ("_full_items", "_item_s", "_latency_s", "_most", "busy", "interval_s", "since")

    def __init__(self, most_items: int = 1) -> None:
        self._item_s = 0.0
        self.interval_s = 0.0
        self._latency_s = 0.0
        # What one run takes along when there is more than it can take; until that was seen, what the policy allows.
        self._full_items = 0.0
        self._most = most_items
        self.since: float | None = None
        self.busy = 0

    def started(self, now: float, items: int = 0) -> None:
        """A run began; measuring starts here if nothing else was running. `items`: how many it took, if it left some behind, so
        that it is as large as runs get."""
        self.busy += 1
        if items:
            self._full_items = self._full_items + _WEIGHT * (items - self._full_items) if self._full_items else float(items)
        if self.since is None:
            self.since = now

    def finished(self, items: int, now: float, *, idle: bool, began: float | None = None) -> None:
        """A run of `items` ended, that began at `began`; `idle` says that nothing else runs or waits now."""
        since = self.since
        if since is not None and items:
            interval_s = max(now - since, 0.0)
            item_s = interval_s / items
            if self._item_s:
                self._item_s += _WEIGHT * (item_s - self._item_s)
                self.interval_s += _WEIGHT * (interval_s - self.interval_s)
                self._latency_s += _WEIGHT * (now - (since if began is None else began) - self._latency_s)
            else:
                self._item_s = item_s
                self.interval_s = interval_s
                self._latency_s = now - (since if began is None else began)
        self.since = None if idle else now
        self.busy = max(0, self.busy - 1)

    def rest(self) -> None:
        """Nothing runs and nothing waits any more, though the last run left works behind: they were dropped. What comes after is
        idle time, and does not count."""
        self.since = None

    @property
    def full_items(self) -> float:
        """What one run takes along when there is more than it can take."""
        return self._full_items or self._most

    def wait_s(self, ahead: int) -> float:
        """How long a newcomer with `ahead` items before it will take to be answered; 0 if nothing has been measured yet.

        Rather too short than too long: a run of more items than were ever seen together is taken to cost what runs cost lately.
        """
        return self._latency_s + self.interval_s * (ahead / self.full_items + (0.5 if self.busy else 0.0))

    def drain_s(self, items: int) -> float:
        """How long `items` will take to be worked off, within reason; a second if nothing has been measured yet."""
        if not self._item_s:
            return UNMEASURED_S
        return within_reason(items * self._item_s)


def within_reason(seconds: float) -> float:
    """A time to wait that a caller can be told."""
    return min(max(seconds, SHORTEST_S), LONGEST_S)

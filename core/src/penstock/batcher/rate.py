"""The recent speed of service, from which a refused caller is told when to come back."""

UNMEASURED_S = 1.0
LONGEST_S = 60.0
SHORTEST_S = 0.01
_WEIGHT = 0.2


class ServiceRate:
    """Seconds that an item takes at the batcher's present speed: an average over the last handful of runs.

    It is measured between the ends of successive runs while there was work, so runs that overlap count as the speed-up they are,
    and idle time does not count. Times are given in, in seconds of one monotonic clock.
    """

    __slots__ = ("_item_s", "_since")

    def __init__(self) -> None:
        self._item_s = 0.0
        self._since: float | None = None

    def started(self, now: float) -> None:
        """A run began; measuring starts here if nothing else was running."""
        if self._since is None:
            self._since = now

    def finished(self, items: int, now: float, *, idle: bool) -> None:
        """A run of `items` ended; `idle` says that nothing else is running now."""
        if self._since is not None and items:
            item_s = max(now - self._since, 0.0) / items
            self._item_s = item_s if not self._item_s else self._item_s + _WEIGHT * (item_s - self._item_s)
        self._since = None if idle else now

    def drain_s(self, items: int) -> float:
        """How long `items` will take to be worked off, within reason; a second if nothing has been measured yet."""
        if not self._item_s:
            return UNMEASURED_S
        return min(max(items * self._item_s, SHORTEST_S), LONGEST_S)

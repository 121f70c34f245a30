"""When ONNX Runtime's arena gives memory back: after a run far larger than what is usual, and once such runs have become rare.

The arena keeps what it ever needed, so the next run finds its memory mapped: flat under shapes that vary, and several hundred
megabytes too large for ever after one giant request. Giving back after each run, or every so often, costs time and scatters what
is left (docs/decisions/0008-memory.md has the figures); giving back after the giant costs nothing that anyone notices.
"""

# Below this a run's share of the arena is not worth a thought: what a model makes of its inputs may be a hundred times as much.
_LEAST_BYTES = 64 * 1024
_FACTOR = 8
_WINDOW_RUNS = 1000
# Giants that come closer together than this are what is usual here.
_RARE_RUNS = 20


class Usual:
    """How large a model's runs usually are, in bytes of their inputs: the most of this window of runs and of the one before.

    `held` is the largest run since memory was last given back, for which the arena still has room.
    """

    __slots__ = ("_before", "_giant_at", "_held", "_now", "_runs")

    def __init__(self) -> None:
        self._now = self._before = self._held = 0
        self._runs = 0
        self._giant_at = -_RARE_RUNS

    def exceeded(self, nbytes: int) -> bool:
        """Count a run of so many bytes; whether memory should be given back after it."""
        self._runs += 1
        usual = max(self._now, self._before, _LEAST_BYTES)
        if nbytes > _FACTOR * usual:
            rare = self._runs - self._giant_at > _RARE_RUNS
            self._giant_at = self._runs
            if rare:
                return True
        self._now = max(self._now, nbytes)
        self._held = max(self._held, nbytes)
        return self._runs % _WINDOW_RUNS == 0 and self._turn()

    def _turn(self) -> bool:
        """The window's end; whether what the arena holds has become far more than is usual."""
        self._before, self._now = self._now, 0
        if self._held <= _FACTOR * max(self._before, _LEAST_BYTES):
            return False
        self._held = self._before
        return True

"""How long to wait before the next try: twice as long each time, up to a bound."""


class Backoff:
    """Waits in s."""

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s = least_s
        self._most_s = most_s
        self._next_s = least_s

    def next(self) -> float:
        """The wait before the next try."""
        wait_s, self._next_s = self._next_s, min(self._most_s, self._next_s * 2)
        return wait_s

    def reset(self) -> None:
        """Something worked."""
        self._next_s = self._least_s

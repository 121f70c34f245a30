"""How long to wait before the next try: exponential, jittered, bounded. Used wherever a program waits for others."""

from dataclasses import dataclass
from random import Random

_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """`first_s` before the second try, doubling up to `most_s`."""

    first_s: float = 0.1
    most_s: float = 10.0

    def delay_s(self, tries: int, random: Random) -> float:
        """Seconds to wait after `tries` tries (1 or more) failed: between half of the exponential step and all of it.

        The jitter keeps workers that failed together from coming back together.
        """
        step: float = min(self.most_s, self.first_s * 2 ** min(max(tries, 1) - 1, _MOST_DOUBLINGS))
        return step * (0.5 + random.random() / 2)


class Doubling:
    """The same without jitter, for one who waits for the same thing again and again: it knows by itself how long it has waited.

    `least_s` before the second try, doubling up to `most_s`, and `least_s` again once something worked.
    """

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s = least_s
        self._most_s = most_s
        self._next_s = least_s

    def next(self) -> float:
        """Seconds before the next try."""
        wait_s, self._next_s = self._next_s, min(self._most_s, self._next_s * 2)
        return wait_s

    def reset(self) -> None:
        """Something worked."""
        self._next_s = self._least_s

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

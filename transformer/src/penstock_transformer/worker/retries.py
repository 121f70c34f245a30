"""Records that found predictor or store away, waiting for their next try, those that failed together still together.

Invariant: a waiting entry's partition is paused (its `retrying` is above 0): it holds no more than its share of the room.
"""

import heapq
from collections.abc import Iterable
from itertools import count
from random import Random

from penstock_transformer.backoff import Backoff
from penstock_transformer.worker.entries import Entry


class Retries:
    """Entries by the time of their next try."""

    def __init__(self, backoff: Backoff, random: Random) -> None:
        self._backoff = backoff
        self._random = random
        self._heap: list[tuple[float, int, list[Entry]]] = []
        self._numbers = count()

    @property
    def wake(self) -> float | None:
        """When the next ones are due."""
        return self._heap[0][0] if self._heap else None

    def add(self, entries: Iterable[tuple[Entry, float]], now: float) -> None:
        """These failed together; each with the least number of seconds that it was asked to wait."""
        groups: dict[tuple[int, float], list[Entry]] = {}
        for entry, least_s in entries:
            entry.tries += 1
            entry.queue.retrying += 1
            groups.setdefault((entry.tries, least_s), []).append(entry)
        for (tries, least_s), group in groups.items():
            # No sooner than asked for, and not all workers at that very moment.
            delay_s = max(self._backoff.delay_s(tries, self._random), least_s * (1 + self._random.random() / 4))
            heapq.heappush(self._heap, (now + delay_s, next(self._numbers), group))

    def due(self, now: float) -> list[Entry]:
        """Those whose time has come and whose partition is still ours."""
        found: list[Entry] = []
        while self._heap and self._heap[0][0] <= now:
            for entry in heapq.heappop(self._heap)[2]:
                entry.queue.retrying -= 1
                if entry.queue.alive:
                    found.append(entry)
        return found

    def __len__(self) -> int:
        return sum(len(group) for _, _, group in self._heap)

    def clear(self) -> None:
        """Try none of them again."""
        while self._heap:
            for entry in self._heap.pop()[2]:
                entry.queue.retrying -= 1

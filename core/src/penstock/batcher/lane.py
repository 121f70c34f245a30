"""A lane of the queue: the works of one priority class, the most urgent first.

    Penstock-Priority below 0 --> urgent       each lane: by deadline, then by arrival
                      0       --> normal
                      above 0 --> background   may fill half of the queue at most

Arrivals are nearly always in order already, so a lane is a deque that knows whether anything was pushed out of order, and sorts
only then.
"""

from collections import deque
from typing import Generic

from penstock.batcher.work import W

URGENT, NORMAL, BACKGROUND = range(3)

# (due, sequence, work, arrived, nbytes, rows, deadline): ordered by the first two, of which the second is unique
Entry = tuple[float, int, W, float, int, int, float]


class Lane(Generic[W]):
    """`served`: the number of the last run that took something of this lane."""

    __slots__ = ("entries", "ordered", "served")

    def __init__(self) -> None:
        self.entries: deque[Entry[W]] = deque()
        self.ordered = True
        self.served = 0

    def push(self, entry: Entry[W]) -> None:
        """Take an entry in."""
        entries = self.entries
        if entries and entry < entries[-1]:
            self.ordered = False
        entries.append(entry)

    def in_order(self) -> deque[Entry[W]]:
        """The entries, most urgent first."""
        if not self.ordered:
            self.entries = deque(sorted(self.entries))
            self.ordered = True
        return self.entries

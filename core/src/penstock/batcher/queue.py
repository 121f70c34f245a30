"""The deadline-first queue: a state machine without I/O. Works and the time go in, batches and refusals come out.

    push --> waiting --+-- take ----> a batch of works that may share a run
       |               +-- take, expire --> dropped: DeadlineExceeded, Cancelled
       +--> refused    +-- clear

Order: priority, then deadline, then arrival. Arrivals are nearly always in order already, so the queue is a deque that knows
whether anything was pushed out of order and sorts only then. A batch begins with the most urgent work, whatever its key,
and takes the next most urgent of the same key along: a busy key cannot starve a quiet one.

Invariants: items and bytes never exceed the policy; each work that was pushed leaves exactly once; what a work added to the
byte count when it came is what it takes away when it goes.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic

from penstock.batcher.policy import BatchPolicy
from penstock.batcher.rate import ServiceRate
from penstock.batcher.work import W
from penstock.errors import Cancelled, DeadlineExceeded, Overloaded, PenstockError, TooLarge

LOOK_AHEAD = 256
"""Works of other keys that a batch looks past for company: bounds the cost of a batch when every key is different."""
SWEEP_S = 0.05
"""A full queue looks for works that nobody waits for any more at most this often."""

_NEVER = float("inf")

# (priority, due, sequence, work, arrived, nbytes, rows, deadline): ordered by the first three, of which the third is unique
_Entry = tuple[int, float, int, W, float, int, int, float]


class Batch(Generic[W]):
    """Works for one run, most urgent first, and those that `take` found to be beyond help, with the reason."""

    __slots__ = ("arrivals", "dropped", "rows", "works")

    def __init__(self) -> None:
        self.works: list[W] = []
        self.arrivals: list[float] = []
        self.rows = 0
        self.dropped: list[tuple[W, PenstockError]] = []


class DeadlineQueue(Generic[W]):
    """Works that wait. Times are seconds of one monotonic clock, given in by the caller."""

    __slots__ = ("_entries", "_ordered", "_policy", "_rate", "_sequence", "_swept", "dated", "nbytes", "rows")

    def __init__(self, policy: BatchPolicy, rate: ServiceRate) -> None:
        self._policy = policy
        self._rate = rate
        self._entries: deque[_Entry[W]] = deque()
        self._ordered = True
        self._sequence = 0
        self._swept = -_NEVER
        self.nbytes = 0
        self.rows = 0
        self.dated = 0
        """Works that have a deadline."""

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, work: W, now: float) -> PenstockError | None:
        """Take a work in, or say why not: DeadlineExceeded, Overloaded, or TooLarge if it could never fit."""
        context = work.context
        deadline = context.deadline
        if deadline is None:
            due, deadline = now + self._policy.patience_s, _NEVER
        elif deadline <= now:
            return DeadlineExceeded("the deadline had passed when the request arrived")
        else:
            due = deadline
        nbytes, rows, entries = work.nbytes, work.rows, self._entries
        policy = self._policy
        if len(entries) >= policy.max_queue_items or self.nbytes + nbytes > policy.max_queue_bytes:
            return self._refusal(nbytes)
        self._sequence = sequence = self._sequence + 1
        entry = (context.priority, due, sequence, work, now, nbytes, rows, deadline)
        if entries and entry < entries[-1]:
            self._ordered = False
        entries.append(entry)
        self.nbytes += nbytes
        self.rows += rows
        if deadline != _NEVER:
            self.dated += 1
        return None

    def take(self, now: float) -> Batch[W]:
        """The next batch: the most urgent work and those of its key that fit into `max_rows` with it; empty if nothing waits."""
        if not self._ordered:
            self._entries = deque(sorted(self._entries))
            self._ordered = True
        entries = self._entries
        batch: Batch[W] = Batch()
        works, arrivals, skipped = batch.works, batch.arrivals, []
        key: Hashable = None
        max_rows = self._policy.max_rows
        total = 0
        while entries:
            entry = entries.popleft()
            _, _, _, work, arrived, nbytes, rows, deadline = entry
            if deadline <= now or work.disconnected:
                batch.dropped.append((work, _reason(deadline, now)))
            elif not works:
                key = work.key
                works.append(work)
                arrivals.append(arrived)
                total = rows
            elif work.key == key:
                if total + rows > max_rows:
                    entries.appendleft(entry)
                    break
                works.append(work)
                arrivals.append(arrived)
                total += rows
            else:
                skipped.append(entry)
                if len(skipped) >= LOOK_AHEAD:
                    break
                continue
            self.nbytes -= nbytes
            self.rows -= rows
            if deadline != _NEVER:
                self.dated -= 1
            if works and (key is None or total >= max_rows):
                break
        entries.extendleft(reversed(skipped))
        batch.rows = total
        return batch

    def expire(self, now: float) -> list[tuple[W, PenstockError]]:
        """Take out every work that is past its deadline or whose caller has left, with the reason."""
        kept: deque[_Entry[W]] = deque()
        dropped: list[tuple[W, PenstockError]] = []
        for entry in self._entries:
            work, deadline = entry[3], entry[7]
            if deadline <= now or work.disconnected:
                dropped.append((work, _reason(deadline, now)))
                self.nbytes -= entry[5]
                self.rows -= entry[6]
                self.dated -= deadline != _NEVER
            else:
                kept.append(entry)
        self._entries = kept
        return dropped

    def sweep_due(self, now: float) -> bool:
        """Whether a full queue should look again for works that nobody waits for; says yes at most every `SWEEP_S`."""
        if now - self._swept < SWEEP_S:
            return False
        self._swept = now
        return True

    def next_deadline(self) -> float | None:
        """The earliest deadline of all that wait, None if none has one."""
        earliest = min([entry[7] for entry in self._entries], default=_NEVER)
        return None if earliest == _NEVER else earliest

    def oldest_arrival(self) -> float | None:
        """When the work that has waited longest came, None if nothing waits."""
        return min([entry[4] for entry in self._entries], default=None)

    def clear(self) -> list[W]:
        """Take everything out, most urgent first."""
        works = [entry[3] for entry in sorted(self._entries)]
        self._entries.clear()
        self._ordered = True
        self.nbytes = self.rows = self.dated = 0
        return works

    def _refusal(self, nbytes: int) -> PenstockError:
        policy = self._policy
        if nbytes > policy.max_queue_bytes:
            return TooLarge(f"expected a request of at most {policy.max_queue_bytes} bytes of tensors, got {nbytes}")
        waiting = len(self._entries)
        wait_s = self._rate.drain_s(waiting)
        return Overloaded(f"the queue is full: {waiting} requests of {self.nbytes} bytes wait", retry_after_s=wait_s)


def _reason(deadline: float, now: float) -> PenstockError:
    if deadline <= now:
        return DeadlineExceeded("the deadline passed while the request waited its turn")
    return Cancelled("the caller left before the request was served")

"""The deadline-first queue: a state machine without I/O. Works and the time go in, batches and refusals come out.

    push --> waiting --+-- take ----> a batch of works that may share a run
       |               +-- take, expire --> dropped: DeadlineExceeded, Cancelled
       +--> refused    +-- clear

Order: priority class, then deadline, then arrival. A batch begins with the most urgent work, whatever its key, and takes the next
most urgent of the same key along: a busy key cannot starve a quiet one. Nor can a busy class starve a quiet one: a class that
`STARVED_AFTER` runs in a row have passed over begins the next run.

Refused at once: what finds no room, and what would be answered too late, by the recent speed of service. An answer that comes
too late costs as much as one in time, so a queue that takes all comers serves nobody when there is more than it can carry.

Invariants: items and bytes never exceed the policy; each work that was pushed leaves exactly once; what a work added to the
byte count when it came is what it takes away when it goes.
"""

from collections.abc import Hashable, Iterator
from typing import Generic

from penstock.batcher.lane import BACKGROUND, NORMAL, URGENT, Entry, Lane
from penstock.batcher.policy import BatchPolicy
from penstock.batcher.rate import ServiceRate, within_reason
from penstock.batcher.work import W
from penstock.dataplane import Context
from penstock.errors import Cancelled, DeadlineExceeded, Overloaded, PenstockError, TooLarge

LOOK_AHEAD = 256
"""Works of other keys that a batch looks past for company: bounds the cost of a batch when every key is different."""
SWEEP_S = 0.05
"""A full queue looks for works that nobody waits for any more at most this often."""
STARVED_AFTER = 7
"""So many runs may pass over a class that has works waiting: each class gets one run in eight at least."""
HEADROOM = 0.5
"""The part of a caller's time that the expected wait may take: the rest is for the way here and back, and for slower runs."""

_NEVER = float("inf")


class Batch(Generic[W]):
    """Works for one run, most urgent first, and those that `take` found to be beyond help, with the reason."""

    __slots__ = ("arrivals", "dropped", "key", "rows", "works")

    def __init__(self) -> None:
        self.works: list[W] = []
        self.arrivals: list[float] = []
        self.key: Hashable = None
        self.rows = 0
        self.dropped: list[tuple[W, PenstockError]] = []


class DeadlineQueue(Generic[W]):
    """Works that wait. Times are seconds of one monotonic clock, given in by the caller."""

    __slots__ = (
        "_background_items",
        "_lanes",
        "_policy",
        "_rate",
        "_runs",
        "_sequence",
        "_swept",
        "dated",
        "items",
        "nbytes",
        "rows",
    )

    def __init__(self, policy: BatchPolicy, rate: ServiceRate) -> None:
        self._policy = policy
        self._rate = rate
        self._lanes: tuple[Lane[W], Lane[W], Lane[W]] = (Lane(), Lane(), Lane())
        self._background_items = (policy.max_queue_items + 1) // 2
        self._sequence = 0
        self._runs = 0
        self._swept = -_NEVER
        self.items = 0
        self.nbytes = 0
        self.rows = 0
        self.dated = 0
        """Works that have a deadline."""

    def __len__(self) -> int:
        return self.items

    def push(self, work: W, now: float) -> PenstockError | None:
        """Take a work in, or say why not: DeadlineExceeded, Overloaded, or TooLarge if it could never fit."""
        context = work.context
        deadline = context.deadline
        priority = context.priority
        at = NORMAL if not priority else URGENT if priority < 0 else BACKGROUND
        if deadline is None:
            due, deadline = now + self._policy.patience_s, _NEVER
        else:
            if deadline <= now or self.items or self._rate.busy:
                refusal = self._too_late(at, deadline, now)
                if refusal is not None:
                    return refusal
            due = deadline
        nbytes, rows = work.nbytes, work.rows
        policy = self._policy
        if self.items >= policy.max_queue_items or self.nbytes + nbytes > policy.max_queue_bytes:
            return self._refusal(nbytes)
        lane = self._lanes[at]
        if at == BACKGROUND and len(lane.entries) >= self._background_items:
            return self._refusal(nbytes)
        self._sequence = sequence = self._sequence + 1
        lane.push((due, sequence, work, now, nbytes, rows, deadline))
        self.items += 1
        self.nbytes += nbytes
        self.rows += rows
        if deadline != _NEVER:
            self.dated += 1
        return None

    def refusal(self, context: Context, now: float) -> PenstockError | None:
        """Why a work with this context would be refused whatever its size, or None: what `push` would say."""
        priority = context.priority
        at = NORMAL if not priority else URGENT if priority < 0 else BACKGROUND
        deadline = context.deadline
        if deadline is not None and (deadline <= now or self.items or self._rate.busy):
            refusal = self._too_late(at, deadline, now)
            if refusal is not None:
                return refusal
        full = self.items >= self._policy.max_queue_items
        if full or (at == BACKGROUND and len(self._lanes[at].entries) >= self._background_items):
            return self._refusal(0)
        return None

    def take(self, now: float) -> Batch[W]:
        """The next batch: the most urgent work and those of its key that fit into `max_rows` with it; empty if nothing waits."""
        batch: Batch[W] = Batch()
        lanes = self._lanes
        self._runs += 1
        if self.items == len(lanes[NORMAL].entries):
            self._fill(batch, lanes[NORMAL], now)
            return batch
        least = self._runs - STARVED_AFTER
        starved = next((lane for lane in reversed(lanes) if lane.served < least and lane.entries), None)
        if starved is None or self._fill(batch, starved, now):
            for lane in lanes:
                if lane is not starved and lane.entries and not self._fill(batch, lane, now):
                    break
        return batch

    def expire(self, now: float) -> list[tuple[W, PenstockError]]:
        """Take out every work that is past its deadline or whose caller has left, with the reason."""
        dropped: list[tuple[W, PenstockError]] = []
        for lane in self._lanes:
            kept: list[Entry[W]] = []
            for entry in lane.entries:
                work, deadline = entry[2], entry[6]
                if deadline <= now or work.disconnected:
                    dropped.append((work, _reason(deadline, now)))
                    self._forget(entry)
                else:
                    kept.append(entry)
            lane.entries.clear()
            lane.entries.extend(kept)
        return dropped

    def sweep_due(self, now: float) -> bool:
        """Whether a full queue should look again for works that nobody waits for; says yes at most every `SWEEP_S`."""
        if now - self._swept < SWEEP_S:
            return False
        self._swept = now
        return True

    def next_deadline(self) -> float | None:
        """The earliest deadline of all that wait, None if none has one."""
        earliest = min([entry[6] for entry in self._entries()], default=_NEVER)
        return None if earliest == _NEVER else earliest

    def oldest_arrival(self) -> float | None:
        """When the work that has waited longest came, None if nothing waits."""
        return min([entry[3] for entry in self._entries()], default=None)

    def clear(self) -> list[W]:
        """Take everything out, most urgent first."""
        works = [entry[2] for lane in self._lanes for entry in lane.in_order()]
        for lane in self._lanes:
            lane.entries.clear()
            lane.ordered = True
        self.items = self.nbytes = self.rows = self.dated = 0
        return works

    def _entries(self) -> Iterator[Entry[W]]:
        for lane in self._lanes:
            yield from lane.entries

    def _fill(self, batch: Batch[W], lane: Lane[W], now: float) -> bool:
        """Take what fits of a lane; whether there is room for more."""
        entries = lane.in_order()
        works, arrivals, skipped = batch.works, batch.arrivals, []
        before = len(works)
        key = batch.key
        max_rows = self._policy.max_rows
        total = batch.rows
        room = True
        while entries:
            entry = entries.popleft()
            _, _, work, arrived, nbytes, rows, deadline = entry
            if deadline <= now or work.disconnected:
                batch.dropped.append((work, _reason(deadline, now)))
            elif not works:
                batch.key = key = work.key
                works.append(work)
                arrivals.append(arrived)
                total = rows
            elif work.key == key:
                if total + rows > max_rows:
                    entries.appendleft(entry)
                    room = False
                    break
                works.append(work)
                arrivals.append(arrived)
                total += rows
            else:
                skipped.append(entry)
                if len(skipped) >= LOOK_AHEAD:
                    break
                continue
            self.items -= 1
            self.nbytes -= nbytes
            self.rows -= rows
            if deadline != _NEVER:
                self.dated -= 1
            if works and (key is None or total >= max_rows):
                room = False
                break
        entries.extendleft(reversed(skipped))
        batch.rows = total
        if len(works) > before:
            lane.served = self._runs
        return room

    def _forget(self, entry: Entry[W]) -> None:
        self.items -= 1
        self.nbytes -= entry[4]
        self.rows -= entry[5]
        self.dated -= entry[6] != _NEVER

    def _too_late(self, at: int, deadline: float, now: float) -> PenstockError | None:
        """Why a work of class `at` cannot be answered by `deadline`, or None if it can, by the recent speed of service."""
        if deadline <= now:
            return DeadlineExceeded("the deadline had passed when the request arrived")
        lanes, rate = self._lanes, self._rate
        lane = lanes[at]
        mine = len(lane.entries)
        ahead = mine if at == URGENT else self.items if at == BACKGROUND else self.items - len(lanes[BACKGROUND].entries)
        if ahead > mine:
            # However much waits in the classes before it, a class has its share of the runs.
            turn = max(0, lane.served + STARVED_AFTER + 1 - self._runs)
            ahead = min(ahead, mine * (STARVED_AFTER + 1) + round(turn * rate.full_items))
        wait_s = rate.wait_s(ahead)
        allowed_s = (deadline - now) * HEADROOM
        if wait_s <= allowed_s:
            return None
        return Overloaded(
            f"{ahead} requests wait: an answer takes {wait_s * 1e3:.0f} ms, the deadline is in {(deadline - now) * 1e3:.0f} ms",
            # A queue moves by whole runs, and their speed changes while they empty it.
            retry_after_s=within_reason(1.25 * (wait_s - allowed_s) + 1.25 * rate.interval_s),
        )

    def _refusal(self, nbytes: int) -> PenstockError:
        policy = self._policy
        if nbytes > policy.max_queue_bytes:
            return TooLarge(f"expected a request of at most {policy.max_queue_bytes} bytes of tensors, got {nbytes}")
        wait_s = self._rate.drain_s(self.items)
        return Overloaded(f"the queue is full: {self.items} requests of {self.nbytes} bytes wait", retry_after_s=wait_s)


def _reason(deadline: float, now: float) -> PenstockError:
    if deadline <= now:
        return DeadlineExceeded("the deadline passed while the request waited its turn")
    return Cancelled("the caller left before the request was served")

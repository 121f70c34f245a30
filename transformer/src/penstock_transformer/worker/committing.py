"""Transactions, one at a time: what goes into the next, and what its end means for what is held.

    idle --finished prefixes--> committing --done--> idle                          the prefixes are gone
                                     |--retriable--> broken, restoring, idle       the same outputs go into the next one
                                     |--rebalanced-> outdated, idle              the same, of what is still ours
                                     |--in doubt---> broken, restoring, asking     the committed offsets decide
                                     |--too large--> idle                          a dead letter in its place, or by halves
                                     +--fenced-----> over

An output is made once and committed until it is durable: a record is never predicted again because a commit failed.

Invariant: a batch holds a part of each partition's finished prefix, from its start; it is taken off only when it is known to be
durable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random

from penstock_transformer.backoff import Backoff
from penstock_transformer.broker.records import OutRecord, Partition
from penstock_transformer.worker.entries import Entry, PartitionQueue

Parts = Sequence[tuple[PartitionQueue, int]]


class OutletState(Enum):
    """What the outlet is at."""

    IDLE = "idle"
    COMMITTING = "committing"
    OUTDATED = "outdated"
    BROKEN = "broken"
    RESTORING = "restoring"
    UNANSWERED = "unanswered"
    ASKING = "asking"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction holds: so many entries of each queue's finished prefix, in the order of `records`."""

    parts: Parts
    records: Sequence[OutRecord]
    offsets: Mapping[Partition, int]

    def entry(self, at: int) -> Entry | None:
        """The entry behind the record at this place; None if its partition has gone."""
        for queue, count in self.parts:
            if at < count:
                return queue.ready[at] if queue.alive else None
            at -= count
        return None


class Committing:
    """The transactions of one worker. `plans` are batches to be tried next, last one first: halves of one in which a record is
    too large, nobody knows which."""

    def __init__(self, backoff: Backoff, random: Random, records_most: int, bytes_most: int, interval_s: float) -> None:
        self.state = OutletState.IDLE
        self.until = 0.0
        self.tries = 0
        self.batch: Batch | None = None
        self.began = float("-inf")
        self._backoff = backoff
        self._random = random
        self._records_most = records_most
        self._bytes_most = bytes_most
        self._interval_s = interval_s
        self._next = 0.0
        self._turn = 0
        self.plans: list[Parts] = []
        self._in_doubt = False

    def wake(self) -> float | None:
        """When there is something to do, if nothing happens before."""
        if self.state in (OutletState.OUTDATED, OutletState.BROKEN, OutletState.UNANSWERED):
            return self.until
        return self._next if self.state is OutletState.IDLE and self._next else None

    def begin(self, queues: Sequence[PartitionQueue], now: float, *, hurry: bool) -> Batch | None:
        """The next batch, if the outlet is idle and something is finished; `hurry` does not wait for company."""
        if self.state is OutletState.OUTDATED and now >= self.until:
            self.state = OutletState.IDLE
        if self.state is not OutletState.IDLE:
            return None
        while self.plans:
            parts = [(queue, count) for queue, count in self.plans.pop() if queue.alive]
            if parts:
                return self._begun(parts, now)
        finished = [queue for queue in queues if queue.ready]
        self._next = 0.0
        if not finished:
            return None
        if now < self.began + self._interval_s and not hurry and sum(len(q.ready) for q in finished) < self._records_most:
            self._next = self.began + self._interval_s
            return None
        return self._begun(self._take(finished), now)

    def _begun(self, parts: Parts, now: float) -> Batch:
        entries = [(queue, queue.ready[:count]) for queue, count in parts]
        records = [entry.out for _, taken in entries for entry in taken if entry.out is not None]
        offsets = {queue.partition: taken[-1].record.offset + 1 for queue, taken in entries}
        self.batch = Batch(parts, records, offsets)
        self.state = OutletState.COMMITTING
        self.began = now
        return self.batch

    def _take(self, finished: list[PartitionQueue]) -> Parts:
        parts: list[tuple[PartitionQueue, int]] = []
        room, nbytes = self._records_most, self._bytes_most
        # Another partition is first each time, so that where not all fit, each comes to its turn.
        self._turn += 1
        for place in range(len(finished)):
            queue = finished[(self._turn + place) % len(finished)]
            count = 0
            for entry in queue.ready[:room]:
                nbytes -= entry.out_bytes
                if nbytes < 0 and (count or parts):
                    break
                count += 1
            if count:
                parts.append((queue, count))
                room -= count
            if room <= 0 or nbytes <= 0:
                break
        return parts

    def done(self) -> list[Entry]:
        """The commit is durable: its entries are taken off and returned."""
        assert self.batch is not None
        gone = [entry for queue, count in self.batch.parts if queue.alive for entry in queue.remove(count)]
        self._end()
        return gone

    def _end(self) -> None:
        self.state = OutletState.IDLE
        self.batch = None
        self.tries = 0
        self._in_doubt = False

    def broken(self, now: float, *, in_doubt: bool) -> None:
        """The commit failed, or its end is not known: restore the outlet after a while."""
        self._in_doubt = self._in_doubt or in_doubt
        self.plans.clear()
        if not self._in_doubt:
            self.batch = None
        self._later(OutletState.BROKEN, now)

    def outdated(self, now: float) -> None:
        """The group had moved on: commit what is still ours after a while, as a member of the group of then."""
        self.plans.clear()
        self.batch = None
        self._later(OutletState.OUTDATED, now)

    def _later(self, state: OutletState, now: float) -> None:
        self.tries += 1
        self.state = state
        self.until = now + self._backoff.delay_s(self.tries, self._random)

    def restored(self) -> bool:
        """The outlet works again. Whether the committed offsets must be asked for now."""
        if self._in_doubt and self.batch is not None and any(queue.alive for queue, _ in self.batch.parts):
            self.state = OutletState.ASKING
            return True
        tries = self.tries
        self._end()
        self.tries = tries  # until a commit succeeds
        return False

    def told(self, offsets: Mapping[Partition, int | None]) -> list[Entry]:
        """The committed offsets decide what became of the batch in doubt: what they cover is taken off and returned."""
        assert self.batch is not None
        gone: list[Entry] = []
        for queue, count in self.batch.parts:
            offset = offsets.get(queue.partition)
            if queue.alive and offset is not None:
                gone += queue.remove(sum(entry.record.offset < offset for entry in queue.ready[:count]))
        self._end()
        return gone

    def untold(self, now: float) -> None:
        """The broker could not say: ask again after a while."""
        self._later(OutletState.UNANSWERED, now)

    def too_large(self, at: int | None) -> Entry | None:
        """A record of the batch is over the topic's limit. Returns its entry if it is known and still ours; where it is not
        known, the halves are tried next."""
        batch = self.batch
        assert batch is not None
        self._end()
        if at is not None or len(batch.records) == 1:
            return batch.entry(at or 0)
        first, second = halved(batch.parts)
        self.plans += [second, first]
        return None

    def over(self) -> None:
        """Commit nothing ever again."""
        self.state = OutletState.OVER

    def holds(self, partitions: Sequence[Partition]) -> bool:
        """Whether a commit is under way with records of these."""
        if self.state is not OutletState.COMMITTING or self.batch is None:
            return False
        return any(partition in self.batch.offsets for partition in partitions)


def halved(parts: Parts) -> tuple[Parts, Parts]:
    """The first half of these records and the second, which begins where the first has been taken off."""
    room = sum(count for _, count in parts) // 2
    first: list[tuple[PartitionQueue, int]] = []
    second: list[tuple[PartitionQueue, int]] = []
    for queue, count in parts:
        taken = min(room, count)
        room -= taken
        if taken:
            first.append((queue, taken))
        if count > taken:
            second.append((queue, count - taken))
    return first, second

"""The sink's state machine: records read, endings written, offsets committed, in that order. No I/O: events in, effects out.

    Polled -> waiting -> Write (one at a time, all that waits, at once) -> Written -> Commit (one at a time) -> Committed
                 ^           |
                 |           +-- the database is away: the same again, later; too much waits: reading pauses
                 +-- refused: halves, until the one that cannot be written stands alone and is left behind

Why nothing is lost: an offset is committed only after everything before it in its partition is written, or known to be no ending.
Why twice does no harm: `Predictions.end` takes an ending once. So after a crash, or when a partition goes to another member, what
was not committed is simply read again.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from penstock_transformer.backoff import Doubling
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.predictions.resource import Ending, changed_by
from penstock_transformer.sink import effects as fx
from penstock_transformer.sink import events as ev
from penstock_transformer.sink.reading import read_ending


class SinkLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one write, and of what may wait for it; times in s."""

    records: int = 500
    nbytes: int = 8 * 1024 * 1024
    held_records: int = 2000
    held_bytes: int = 64 * 1024 * 1024
    retry_s: float = 0.1
    retry_most_s: float = 5.0


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A record that was read: its ending, or None for one that is left behind."""

    partition: Partition
    offset: int
    nbytes: int
    ending: Ending | None


class SinkMachine:
    """One sink. `handle` takes an event and answers what is to be done now; times are s of one monotonic clock."""

    def __init__(self, limits: SinkLimits) -> None:
        self._limits = limits
        self._now = 0.0
        self._ours: set[Partition] = set()
        self._waiting: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._writing: list[Entry] = []
        self._most = limits.records
        self._done: dict[Partition, int] = {}
        self._committing: dict[Partition, int] | None = None
        self._write_at: float | None = None
        self._commit_at: float | None = None
        self._write_backoff = Doubling(limits.retry_s, limits.retry_most_s)
        self._commit_backoff = Doubling(limits.retry_s, limits.retry_most_s)
        self._paused = self._stopping = False
        self.finished = False
        self.ended = self.unknown = self.repeated = self.unreadable = self.refused = self.faults = 0

    @property
    def deadline(self) -> float | None:
        """When it wants a Tick; None: not before the next event."""
        return min((at for at in (self._write_at, self._commit_at) if at is not None), default=None)

    @property
    def held(self) -> int:
        """Records read and not written."""
        return len(self._waiting) + len(self._writing)

    @property
    def held_up(self) -> bool:
        """Writing failed, and is tried again later."""
        return self._write_at is not None

    def handle(self, event: ev.Event, now: float) -> list[fx.Effect]:
        """What to do after this."""
        self._now = now
        if self.finished:
            return []
        match event:
            case ev.Assigned(partitions):
                self._ours.update(partitions)
                return [fx.Pause(tuple(partitions))] if self._paused else []
            case ev.Taken(partitions):
                self._give_up(partitions)
            case ev.Polled(records):
                self._take(records)
            case ev.Written(changed, unknown):
                self._written(changed, unknown)
            case ev.WriteFailed():
                self.faults += 1
                self._write_again(self._write_backoff.next())
                if self._stopping:
                    # Whoever comes next reads it again.
                    self._drop()
            case ev.WriteRefused():
                self._refused()
            case ev.Committed():
                self._committing = None
                self._commit_backoff.reset()
            case ev.CommitFailed():
                self._commit_failed()
            case ev.Stop():
                self._stopping = True
                if self._write_at is not None:
                    self._drop()
            case ev.Tick():
                self._tick()
        return self._next()

    # --- records in

    def _take(self, records: Sequence[Record]) -> None:
        if self._stopping:
            return
        for record in records:
            if record.partition not in self._ours:
                continue
            ending = read_ending(record)
            self.unreadable += ending is None
            self._waiting.append(Entry(record.partition, record.offset, record.nbytes, ending))
            self._waiting_bytes += record.nbytes

    def _give_up(self, partitions: Sequence[Partition]) -> None:
        """What waits of them is the next member's to read; what is being written does no harm."""
        gone = set(partitions)
        self._ours -= gone
        self._waiting = deque(entry for entry in self._waiting if entry.partition not in gone)
        self._waiting_bytes = sum(entry.nbytes for entry in self._waiting)
        self._done = {partition: offset for partition, offset in self._done.items() if partition not in gone}

    # --- writing

    def _written(self, changed: int, unknown: int) -> None:
        endings = sum(entry.ending is not None for entry in self._writing)
        self.ended += changed
        self.unknown += unknown
        self.repeated += max(0, endings - changed - unknown)
        self._write_backoff.reset()
        self._most = min(self._limits.records, self._most * 2)
        self._finish(self._writing)

    def _finish(self, entries: Sequence[Entry]) -> None:
        """These are dealt with: their partitions' offsets may be committed."""
        self._writing = []
        for entry in entries:
            if entry.partition in self._ours:
                self._done[entry.partition] = max(entry.offset + 1, self._done.get(entry.partition, 0))

    def _write_again(self, wait_s: float) -> None:
        """Back to the front of what waits."""
        entries, self._writing = self._writing, []
        ours = [entry for entry in entries if entry.partition in self._ours]
        self._waiting.extendleft(reversed(ours))
        self._waiting_bytes += sum(entry.nbytes for entry in ours)
        self._write_at = self._now + wait_s if wait_s else None

    def _refused(self) -> None:
        if len(self._writing) == 1:
            self.refused += 1
            self._finish(self._writing)
        else:
            self._most = max(1, len(self._writing) // 2)
            self._write_again(0.0)

    def _drop(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0
        self._write_at = None

    # --- offsets

    def _commit_failed(self) -> None:
        """The offsets may be committed again, and with them what has come since, for as long as the partitions are ours."""
        self.faults += 1
        failed, self._committing = self._committing or {}, None
        for partition, offset in failed.items():
            if partition in self._ours:
                self._done[partition] = max(offset, self._done.get(partition, 0))
        if self._stopping:
            self._done = {}
        else:
            self._commit_at = self._now + self._commit_backoff.next()

    # --- what is next

    def _tick(self) -> None:
        if self._write_at is not None and self._write_at <= self._now:
            self._write_at = None
        if self._commit_at is not None and self._commit_at <= self._now:
            self._commit_at = None

    def _next(self) -> list[fx.Effect]:
        found: list[fx.Effect] = []
        if not self._writing and self._write_at is None:
            found += self._write()
        if self._done and self._committing is None and self._commit_at is None:
            self._committing, self._done = self._done, {}
            found.append(fx.Commit(self._committing))
        found += self._brake()
        if self._stopping and not self._writing and not self._waiting and self._committing is None and not self._done:
            self.finished = True
            found.append(fx.Finish())
        return found

    def _write(self) -> list[fx.Effect]:
        """All that waits, up to the limits; what has no ending goes along, and is done at once where nothing else waits."""
        nbytes = 0
        while self._waiting and len(self._writing) < self._most:
            entry = self._waiting[0]
            if self._writing and nbytes + entry.nbytes > self._limits.nbytes:
                break
            nbytes += entry.nbytes
            self._writing.append(self._waiting.popleft())
        self._waiting_bytes -= nbytes
        endings = _merged(self._writing)
        if endings:
            return [fx.Write(endings)]
        if self._writing:
            self._finish(self._writing)
            return self._write()
        return []

    def _brake(self) -> list[fx.Effect]:
        limits = self._limits
        full = len(self._waiting) > limits.held_records or self._waiting_bytes > limits.held_bytes
        if full and not self._paused:
            self._paused = True
            return [fx.Pause(tuple(self._ours))]
        free = len(self._waiting) <= limits.held_records // 2 and self._waiting_bytes <= limits.held_bytes // 2
        if free and self._paused:
            self._paused = False
            return [fx.Resume(tuple(self._ours))]
        return []


def _merged(entries: Sequence[Entry]) -> list[Ending]:
    """One ending for each id: what would stand in the end if they were written one after the other."""
    found: dict[str, Ending] = {}
    for entry in entries:
        ending = entry.ending
        if ending is not None and (ending.id not in found or changed_by(found[ending.id].state, ending)):
            found[ending.id] = ending
    return list(found.values())

"""Records that the worker holds, by partition: in order, each with its output once there is one.

    Polled -> waiting (unfinished, or behind an unfinished one) -> ready (the finished prefix) -> committed, gone

Invariant: `ready` holds the outputs of consecutive records from the committed offset on. Only they may be committed: an offset
is committed only if everything before it has its prediction or its dead letter in the same or an earlier transaction.
"""

from collections import deque

import msgspec

from penstock_transformer.broker.records import OutRecord, Partition, Record


class Entry(msgspec.Struct, eq=False):
    """One record from reading to commit. `reason` is that of its dead letter, None for a prediction; `level` counts the dead
    letters that the topic did not take; `tries` the calls that found predictor or store away; `deaths` those that ended a
    healthy predictor with this record alone in them."""

    record: Record
    queue: "PartitionQueue"
    nbytes: int
    out: OutRecord | None = None
    reason: str | None = None
    out_bytes: int = 0
    tries: int = 0
    deaths: int = 0
    level: int = 0


class PartitionQueue:
    """One partition, for as long as it is ours without a break. `alive` turns false when it goes; outcomes that arrive later are
    dropped. `retrying` counts entries that wait for another try."""

    __slots__ = ("alive", "last_offset", "nbytes", "partition", "paused", "ready", "retrying", "waiting")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.waiting: deque[Entry] = deque()
        self.ready: list[Entry] = []
        self.last_offset = -1
        self.nbytes = 0
        self.retrying = 0
        self.paused = False
        self.alive = True

    def __len__(self) -> int:
        return len(self.waiting) + len(self.ready)

    def gather(self) -> None:
        """Move what is finished at the front to `ready`."""
        waiting, ready = self.waiting, self.ready
        while waiting and (out := waiting[0].out) is not None:
            entry = waiting.popleft()
            entry.out_bytes = out.nbytes
            ready.append(entry)

    def remove(self, count: int) -> list[Entry]:
        """Take the first `count` of the finished prefix away: they are committed."""
        gone = self.ready[:count]
        del self.ready[:count]
        self.nbytes -= sum(entry.nbytes for entry in gone)
        return gone

    @property
    def oldest(self) -> Record | None:
        """The first record that is not committed."""
        if self.ready:
            return self.ready[0].record
        return self.waiting[0].record if self.waiting else None

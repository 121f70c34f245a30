"""The lanes of the table's queue: what its reader takes for partitions, with offsets of their own.

    claimed row --put--> ready --take--> handed out --finish--> gone

A worker commits each partition's finished prefix, so one slow prediction holds up what is behind it: with lanes, the few of its
own and not all. Rows of one key share a lane and keep their order; others go to the lane that has the least. Offsets count what a
lane was given: rows do not come in the order of their sequences, for some are urgent and some are taken over from a process that
died.

Invariant: a row is held from `put` until a committed offset is past it.
"""

import threading
import zlib
from collections.abc import Mapping, Sequence

from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.predictions.port import Claim
from penstock_transformer.relay.port import Intent
from penstock_transformer.relay.publishing import request_of

LANES = 16


class _Lane:
    """One lane: `held` are the rows that it has, by offset; `ready` those of them that are still to be handed out."""

    __slots__ = ("held", "next", "partition", "paused", "ready")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.paused = False
        self.next = 0
        self.held: dict[int, str] = {}
        self.ready: list[Record] = []


class Lanes:
    """The lanes of one topic. Any thread."""

    def __init__(self, topic: str, count: int = LANES) -> None:
        self._lanes = [_Lane(Partition(topic, number)) for number in range(count)]
        self._lock = threading.Lock()
        self.partitions = [lane.partition for lane in self._lanes]

    @property
    def idle(self) -> bool:
        """Whether nothing may be handed out at all."""
        return all(lane.paused for lane in self._lanes)

    def put(self, claim: Claim) -> None:
        """Give a row its lane and offset."""
        with self._lock:
            if claim.key is None:
                lane = min(self._lanes, key=lambda lane: (lane.paused, len(lane.held)))
            else:
                lane = self._lanes[zlib.crc32(claim.key) % len(self._lanes)]
            lane.ready.append(record_of(claim, lane.partition, lane.next))
            lane.held[lane.next] = claim.id
            lane.next += 1

    def take(self, limit: int) -> list[Record]:
        """Hand out up to so many, in offset order within each lane."""
        found: list[Record] = []
        with self._lock:
            for lane in self._lanes:
                room = limit - len(found)
                if lane.ready and room and not lane.paused:
                    found += lane.ready[:room]
                    del lane.ready[:room]
        return found

    def finish(self, offsets: Mapping[Partition, int]) -> None:
        """What is before these offsets has ended."""
        with self._lock:
            for partition, offset in offsets.items():
                held = self._lanes[partition.number].held
                for done in [number for number in held if number < offset]:
                    del held[done]

    def held(self) -> set[str]:
        """The ids of all that is held."""
        with self._lock:
            return {prediction_id for lane in self._lanes for prediction_id in lane.held.values()}

    def pause(self, partitions: Sequence[Partition], paused: bool) -> None:
        """Hand out nothing of these, or again."""
        with self._lock:
            for partition in partitions:
                self._lanes[partition.number].paused = paused

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """One past what has ended, lane by lane."""
        with self._lock:
            lanes = [self._lanes[partition.number] for partition in partitions]
            return {lane.partition: min(lane.held, default=lane.next) for lane in lanes}

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """One past what was put."""
        return {partition: self._lanes[partition.number].next for partition in partitions}


def record_of(claim: Claim, partition: Partition, offset: int) -> Record:
    """The very record that the relay would publish."""
    intent = Intent(
        id=claim.id,
        model=claim.model,
        sequence=claim.sequence,
        payload=claim.payload,
        key=claim.key,
        headers=claim.headers,
        created_s=claim.created_s,
    )
    out = request_of(intent)
    return Record(partition, offset, out.timestamp_ms or 0, out.key, out.value, out.headers)

"""How much may be held, and by whom: partitions are paused and resumed so that memory is bounded and nobody takes another's room.

A partition may hold as much as is still free (the dynamic threshold of switches with a shared buffer: Choudhury and Hahne, 1998),
and always half of an equal share. One that is busy alone gets about half of all room; n slow ones together leave 1/(n+1) of it
to the others; one that holds nothing is never paused for want of room.

Invariant: what is held is at most the bound and what a poll brought on top of it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from penstock_transformer.broker.records import Partition
from penstock_transformer.worker.entries import PartitionQueue


@dataclass(frozen=True, slots=True)
class Room:
    """The bounds: records and bytes of records, held from reading to commit."""

    records: int
    nbytes: int

    def changes(self, queues: Collection[PartitionQueue], *, closed: bool) -> tuple[list[Partition], list[Partition]]:
        """The partitions to pause and those to resume; marks the queues accordingly. `closed`: nothing more is taken."""
        held_records, held_bytes = sum(map(len, queues)), sum(queue.nbytes for queue in queues)
        count = 2 * len(queues) or 1
        records = max(self.records // count, self.records - held_records)
        nbytes = max(self.nbytes // count, self.nbytes - held_bytes)
        pause: list[Partition] = []
        resume: list[Partition] = []
        for queue in queues:
            if not queue.paused:
                if closed or queue.retrying or len(queue) > records or queue.nbytes > nbytes:
                    queue.paused = True
                    pause.append(queue.partition)
            # Half of it, so that a partition at its limit is not paused and resumed with every record.
            elif not (closed or queue.retrying) and len(queue) <= records // 2 and queue.nbytes <= nbytes // 2:
                queue.paused = False
                resume.append(queue.partition)
        return pause, resume

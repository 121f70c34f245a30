"""An outlet without transactions, for those who want its latency and can bear a double: `--delivery at-least-once`.

    records --idempotent producer, all acks--> topic, then offsets --the group's own commit--> group

Invariant: offsets are committed after every record they stand for is durable. Nothing is lost; what was written before a crash
and not committed is written once more by whoever comes next.
"""

from collections.abc import Callable, Mapping, Sequence

from penstock.failpoints import failpoint
from penstock_transformer.broker.membership import Membership
from penstock_transformer.broker.port import Producer, Retriable
from penstock_transformer.broker.records import OutRecord, Partition


class AtLeastOnce:
    """See `broker.port.Outlet`. It is never in doubt: a commit of offsets whose answer was lost is simply made again."""

    def __init__(self, open_producer: Callable[[], Producer]) -> None:
        self._open_producer = open_producer
        self._producer: Producer | None = None

    def open(self) -> None:
        """A producer; there is nobody to take over from."""
        self._producer = self._open_producer()

    def commit(self, records: Sequence[OutRecord], offsets: Mapping[Partition, int], group: Membership | None) -> None:
        """Write all records, then the offsets. Raises Retriable (some records may be written), Fenced, TooLargeForTopic."""
        if self._producer is None:
            raise Retriable("the producer is to be restored first")
        if records:
            self._producer.send(records)
        failpoint("worker.written")
        if offsets:
            assert group is not None
            group.commit(offsets)

    def restore(self) -> None:
        """A fresh producer: what the old one could not write is not written later by surprise."""
        self.close()
        self.open()

    def close(self) -> None:
        """Leave."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()

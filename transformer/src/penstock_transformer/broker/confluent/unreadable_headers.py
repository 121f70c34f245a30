"""Headers that confluent-kafka cannot give: those of a record one of which has a name that is no UTF-8.

It gives none of them then, not even the record's id. Such records are next to never met; their headers are read once more, by
kafka-python, which is always there, and whose adapter reads any.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from penstock_transformer.broker.port import Retriable
from penstock_transformer.broker.records import Headers, Partition
from penstock_transformer.broker.settings import BrokerSettings

if TYPE_CHECKING:
    from penstock_transformer.broker.kafka_python.reader import KafkaPythonReader

# Where there is one there may be more: so many records' headers are read at once.
_AT_ONCE = 500
_BEHIND_ALL = 2**62


class UnreadableHeaders:
    """Opens its reader when it is first asked."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = replace(settings, kafka_client="kafka-python")
        self._reader: KafkaPythonReader | None = None
        self._read: dict[tuple[Partition, int], Headers] = {}

    def of(self, partition: Partition, offset: int) -> Headers:
        """The headers of this record, names that are no text with escapes. Raises Retriable, BrokerError."""
        found = self._read.get((partition, offset))
        if found is None:
            self._read_on(partition, offset)
            found = self._read.get((partition, offset))
        if found is None:
            raise Retriable(f"the headers of {partition}/{offset} are no UTF-8, and could not be read another way")
        return found

    def _read_on(self, partition: Partition, offset: int) -> None:
        from penstock_transformer.broker.kafka_python.reader import KafkaPythonReader

        if self._reader is None:
            self._reader = KafkaPythonReader(self._settings)
        start = dict.fromkeys(self._reader.bounds(partition.topic), _BEHIND_ALL) | {partition: offset}
        self._read = {}
        for record in self._reader.read(partition.topic, start):
            self._read[record.partition, record.offset] = record.headers
            if len(self._read) == _AT_ONCE:
                return

    def close(self) -> None:
        """Leave."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

"""The last marker of a slot, read from the compacted topic `penstock.relays`.

    the topic's ends, open transactions included --> read, read_committed, until there --> the last value under the slot's key

A transaction of another slot that is still open hides what was committed behind it: so the reader goes on until it has come to
the end as it was when it began, however long that transaction stays open (its time-out ends it).

Always through kafka-python, whichever client carries the records: it is installed everywhere, and this is read once at a start
and after a fault.
"""

import time
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from penstock_transformer.broker.kafka_python.errors import translated
from penstock_transformer.broker.kafka_python.options import connection
from penstock_transformer.broker.port import BrokerError, Retriable
from penstock_transformer.broker.settings import BrokerSettings
from penstock_transformer.broker.topics import MARKERS
from penstock_transformer.relay.publishing import number_of


class KafkaMarkers:
    """See `relay.link.Markers`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings

    def last(self, slot: str) -> int:
        """The number of the slot's last marker; 0 for none."""
        with translated(f"reading {MARKERS}"):
            written, committed = self._consumer("read_uncommitted"), self._consumer("read_committed")
            try:
                places = self._places(written)
                ends: dict[TopicPartition, int] = written.end_offsets(places)
                return self._read(committed, ends, slot.encode())
            finally:
                written.close(autocommit=False)
                committed.close(autocommit=False)

    def close(self) -> None:
        """Nothing stays open between two readings."""

    def _consumer(self, isolation: str) -> Any:
        return KafkaConsumer(
            **connection(self._settings, f"penstock-{self._settings.instance}"),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=isolation,
            allow_auto_create_topics=False,
        )

    @staticmethod
    def _places(consumer: Any) -> list[TopicPartition]:
        numbers = consumer.partitions_for_topic(MARKERS)
        if not numbers:
            raise BrokerError(f"topic {MARKERS} does not exist")
        return [TopicPartition(MARKERS, number) for number in sorted(numbers)]

    def _read(self, consumer: Any, ends: dict[TopicPartition, int], key: bytes) -> int:
        found = 0
        deadline = time.monotonic() + self._settings.kafka_timeout_s
        consumer.assign(list(ends))
        consumer.seek_to_beginning()
        while any(consumer.position(place) < end for place, end in ends.items()):
            if time.monotonic() > deadline:
                raise Retriable(f"{MARKERS} was not read to its end in {self._settings.kafka_timeout_s} s")
            for records in consumer.poll(timeout_ms=250).values():
                for record in records:
                    if record.key == key:
                        found = number_of(record.value)
        return found

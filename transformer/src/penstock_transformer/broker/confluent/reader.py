"""Topics from end to end, without a group, on confluent-kafka."""

from collections.abc import Iterator, Mapping
from time import monotonic

from confluent_kafka import Consumer, TopicPartition

from penstock_transformer.broker.confluent.errors import translated
from penstock_transformer.broker.confluent.intake import consumer_options, to_records
from penstock_transformer.broker.confluent.options import Troubles
from penstock_transformer.broker.confluent.unreadable_headers import UnreadableHeaders
from penstock_transformer.broker.port import BrokerError, Retriable
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.broker.settings import BrokerSettings

_SLICE_S = 0.05
_MAX_RECORDS = 2000


class ConfluentReader:
    """See `broker.port.Reader`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._timeout_s = settings.kafka_timeout_s
        self._troubles = Troubles()
        # librdkafka asks for a group's name although none is joined.
        with translated("opening a reader"):
            self._consumer = Consumer(consumer_options(settings, "penstock-readers", self._troubles))
        self._headers = UnreadableHeaders(settings)

    def read(self, topic: str, start: Mapping[Partition, int] | None = None) -> Iterator[Record]:
        """What there is of a topic at the moment of the first step."""
        bounds = self.bounds(topic)
        left: dict[Partition, int] = {}
        places = []
        for partition, (first, end) in bounds.items():
            begin = max(first, (start or {}).get(partition, first))
            if begin < end:
                left[partition] = end
                places.append(TopicPartition(topic, partition.number, begin))
        with translated(f"reading {topic}"):
            self._consumer.assign(places)
        until = monotonic() + self._timeout_s
        failures: list[BrokerError] = []
        while left:
            with translated(f"reading {topic}"):
                found = self._consumer.consume(_MAX_RECORDS, _SLICE_S)
                for record in to_records(found, {}, failures, self._headers):
                    if record.offset < bounds[record.partition][1]:
                        yield record
                if failures:
                    raise failures[0]
                # What was compacted away, or is a transaction's mark, moves the position and gives no record.
                positions = self._consumer.position([TopicPartition(topic, partition.number) for partition in left])
            over = [place for place in positions if place.offset >= left[Partition(topic, place.partition)]]
            for place in over:
                del left[Partition(topic, place.partition)]
            if found or over:
                until = monotonic() + self._timeout_s
            elif monotonic() > until:
                raise Retriable(f"reading {topic}: nothing within {self._timeout_s:g} s")

    def bounds(self, topic: str) -> dict[Partition, tuple[int, int]]:
        """First and last stable offset of every partition. Raises BrokerError for a topic that does not exist."""
        with translated(f"reading the ends of {topic}"):
            found = self._consumer.list_topics(topic, timeout=self._timeout_s).topics.get(topic)
            if found is None or found.error is not None or not found.partitions:
                raise BrokerError(f"topic {topic} does not exist")
            places = [TopicPartition(topic, number) for number in sorted(found.partitions)]
            marks = [self._consumer.get_watermark_offsets(place, timeout=self._timeout_s) for place in places]
        return {Partition(topic, place.partition): mark for place, mark in zip(places, marks, strict=True)}

    def close(self) -> None:
        """Leave."""
        try:
            self._headers.close()
        finally:
            with translated("closing a reader"):
                self._consumer.close()

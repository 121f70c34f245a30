"""Topics from end to end, without a group, on kafka-python."""

from collections.abc import Iterator, Mapping
from time import monotonic

from kafka import KafkaConsumer, TopicPartition, errors

from penstock_transformer.broker.kafka_python.errors import translated
from penstock_transformer.broker.kafka_python.fetching import look
from penstock_transformer.broker.kafka_python.intake import to_records
from penstock_transformer.broker.kafka_python.options import build, connection
from penstock_transformer.broker.port import BrokerError, Retriable
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.broker.settings import BrokerSettings

_SLICE_S = 0.25
_MAX_RECORDS = 2000


class KafkaPythonReader:
    """See `broker.port.Reader`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._timeout_s = settings.kafka_timeout_s
        with translated("opening a reader"):
            options = connection(settings, f"penstock-{settings.instance}") | {
                "group_id": None,
                "enable_auto_commit": False,
                "auto_offset_reset": "earliest",
                "isolation_level": "read_committed",
                "allow_auto_create_topics": False,
                "fetch_max_bytes": settings.fetch_bytes,
                "receive_message_max_bytes": settings.answer_bytes,
                "max_partition_fetch_bytes": min(settings.fetch_bytes, settings.record_bytes + 2**20),
                "retry_backoff_ms": 50,
            }
            self._consumer = build(KafkaConsumer, options)

    def read(self, topic: str, start: Mapping[Partition, int] | None = None) -> Iterator[Record]:
        """What there is of a topic at the moment of the first step."""
        bounds = self.bounds(topic)
        left: dict[TopicPartition, int] = {}
        for partition, (first, end) in bounds.items():
            begin = max(first, (start or {}).get(partition, first))
            if begin < end:
                left[TopicPartition(*partition)] = end
        with translated(f"reading {topic}"):
            self._consumer.assign(list(left))
            # One that an earlier reading has come to the end of is still held back.
            self._consumer.resume(*left)
            for place in left:
                partition = Partition(*place)
                self._consumer.seek(place, max(bounds[partition][0], (start or {}).get(partition, 0)))
        until = monotonic() + self._timeout_s
        while left:
            with translated(f"reading {topic}"):
                found = look(self._consumer, _SLICE_S, _MAX_RECORDS)
                for record in to_records(found, {}):
                    if record.offset < bounds[record.partition][1]:
                        yield record
                # What was compacted away, or is a transaction's mark, moves the position and gives no record.
                over = [place for place, end in left.items() if self._consumer.position(place) >= end]
            for place in over:
                del left[place]
            if over:
                self._consumer.pause(*over)
            if found or over:
                until = monotonic() + self._timeout_s
            elif monotonic() > until:
                raise Retriable(f"reading {topic}: nothing within {self._timeout_s:g} s")

    def bounds(self, topic: str) -> dict[Partition, tuple[int, int]]:
        """First and last stable offset of every partition. Raises BrokerError for a topic that does not exist."""
        with translated(f"reading the ends of {topic}"):
            numbers = self._consumer.partitions_for_topic(topic)
            if not numbers:
                raise BrokerError(f"topic {topic} does not exist")
            places = [TopicPartition(topic, number) for number in sorted(numbers)]
            # Asked for one at a time, kafka-python would not know of topics that it does not read.
            self._consumer.assign(places)
            try:
                firsts = self._consumer.beginning_offsets(places, timeout_ms=int(self._timeout_s * 1000))
                lasts = self._consumer.end_offsets(places, timeout_ms=int(self._timeout_s * 1000))
            except KeyError as unknown:
                raise errors.LeaderNotAvailableError(str(unknown)) from unknown
        return {Partition(*place): (firsts[place], lasts[place]) for place in places}

    def close(self) -> None:
        """Leave."""
        with translated("closing a reader"):
            self._consumer.close(autocommit=False)

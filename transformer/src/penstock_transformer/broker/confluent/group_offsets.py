"""Where a group stands, asked over a connection of its own.

A broker answers what came over one connection in its order. While a group is being joined, the consumer's own question waits
behind its join, for as long as the slowest member takes: up to the poll interval if that one hangs. So another consumer asks, of
the same group, who joins nothing. librdkafka's administration could ask as well, but ends the process by an assertion where a
broker goes away in the middle of its question (librdkafka issue 4605).
"""

from collections.abc import Sequence
from time import monotonic, sleep

from confluent_kafka import Consumer, KafkaException, TopicPartition

from penstock_transformer.broker.confluent.errors import translate, translate_code, translated
from penstock_transformer.broker.confluent.options import Troubles, connection
from penstock_transformer.broker.port import Retriable
from penstock_transformer.broker.records import Partition
from penstock_transformer.broker.settings import BrokerSettings

# Offsets of a transaction that is not over yet are known soon.
_PAUSE_S = 0.02
# An answer that librdkafka waits for in vain does not come with waiting on: it is asked anew.
_ANEW_S = 3.0


class GroupOffsets:
    """The committed offsets of one group. Connects when it is first asked. `settled`: waits for transactions that are still open
    on them; else what was committed before those is told."""

    def __init__(self, settings: BrokerSettings, group: str, *, settled: bool) -> None:
        self._settings = settings
        self._group = group
        self._isolation = "read_committed" if settled else "read_uncommitted"
        self._doing = f"reading committed offsets of {group}"
        self._troubles = Troubles()
        self._consumer: Consumer | None = None

    def of(self, partitions: Sequence[Partition], within_s: float | None = None) -> dict[Partition, int | None]:
        """By partition; `None` where nothing was committed. Raises BrokerError, Retriable when that is not known within the
        client's time-out, or `within_s`."""
        if not partitions:
            return {}
        consumer = self._opened()
        wanted = [TopicPartition(*partition) for partition in partitions]
        until = monotonic() + (self._settings.kafka_timeout_s if within_s is None else within_s)
        while True:
            left = max(0.1, until - monotonic())
            try:
                places = consumer.committed(wanted, timeout=min(_ANEW_S, left))
                error = next((place.error for place in places if place.error is not None), None)
                if error is None:
                    return {
                        Partition(place.topic, place.partition): place.offset if place.offset >= 0 else None for place in places
                    }
                failure = translate_code(error, self._doing)
            except KafkaException as raised:
                failure = translate(raised, self._doing)
            # Whatever librdkafka has to tell beside the calls it tells here.
            consumer.poll(0)
            self._troubles.raise_hopeless()
            if not isinstance(failure, Retriable) or monotonic() >= until:
                raise failure
            sleep(_PAUSE_S)

    def _opened(self) -> Consumer:
        if self._consumer is None:
            options = connection(self._settings, self._troubles) | {
                "group.id": self._group,
                "enable.auto.commit": False,
                "isolation.level": self._isolation,
            }
            with translated(self._doing):
                self._consumer = Consumer(options)
        return self._consumer

    def close(self) -> None:
        """Leave."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with translated("leaving Kafka"):
                consumer.close()

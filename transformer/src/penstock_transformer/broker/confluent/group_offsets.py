"""Where a group stands, asked over a connection of its own.

A broker answers what came over one connection in its order. While a group is being joined, the consumer's own question waits
behind its join, for as long as the slowest member takes: up to the poll interval if that one hangs.
"""

from collections.abc import Sequence
from time import monotonic, sleep

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from penstock_transformer.broker.confluent.errors import translate, translate_code, translated
from penstock_transformer.broker.confluent.options import Troubles, connection
from penstock_transformer.broker.port import Retriable
from penstock_transformer.broker.records import Partition
from penstock_transformer.broker.settings import BrokerSettings

_DOING = "reading committed offsets"
# Offsets of a transaction that is not over yet are known soon.
_PAUSE_S = 0.02


class GroupOffsets:
    """The committed offsets of one group. Connects when it is first asked."""

    def __init__(self, settings: BrokerSettings, group: str) -> None:
        self._settings = settings
        self._group = group
        self._troubles = Troubles()
        self._client: AdminClient | None = None

    def of(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """By partition, of transactions that are over; `None` where nothing was committed. Raises BrokerError."""
        if not partitions:
            return {}
        if self._client is None:
            with translated(_DOING):
                self._client = AdminClient(connection(self._settings, self._troubles))
        wanted = ConsumerGroupTopicPartitions(self._group, [TopicPartition(*partition) for partition in partitions])
        until = monotonic() + self._settings.kafka_timeout_s
        while True:
            left = max(0.1, until - monotonic())
            try:
                asked = self._client.list_consumer_group_offsets([wanted], require_stable=True, request_timeout=left)
                places = asked[self._group].result().topic_partitions
                error = next((place.error for place in places if place.error is not None), None)
                if error is None:
                    return {
                        Partition(place.topic, place.partition): place.offset if place.offset >= 0 else None for place in places
                    }
                failure = translate_code(error, _DOING)
            except KafkaException as raised:
                failure = translate(raised, _DOING)
            self._client.poll(0)
            self._troubles.raise_hopeless()
            if not isinstance(failure, Retriable) or monotonic() >= until:
                raise failure
            sleep(_PAUSE_S)

"""Topics and where groups stand, on confluent-kafka."""

from collections.abc import Sequence
from contextlib import ExitStack
from time import monotonic, sleep

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from penstock_transformer.broker.confluent.errors import translate, translated
from penstock_transformer.broker.confluent.group_offsets import GroupOffsets
from penstock_transformer.broker.confluent.options import Troubles, connection, reach
from penstock_transformer.broker.confluent.reader import ConfluentReader
from penstock_transformer.broker.port import Retriable, TopicState
from penstock_transformer.broker.records import Partition
from penstock_transformer.broker.settings import BrokerSettings

_PAUSE_S = 0.05


class ConfluentAdmin:
    """See `broker.port.Admin`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._timeout_s = settings.kafka_timeout_s
        self._troubles = Troubles()
        with translated("reaching Kafka"):
            self._client = AdminClient(connection(settings, self._troubles))
            reach(self._client, self._troubles, self._timeout_s)
        self._reader = ConfluentReader(settings)
        self._groups: dict[str, GroupOffsets] = {}

    def topics(self, names: Sequence[str]) -> dict[str, TopicState]:
        """The topics of these that exist."""
        with translated("looking at topics"):
            known = self._client.list_topics(timeout=self._timeout_s).topics
            here = [name for name in names if name in known and known[name].error is None and known[name].partitions]
            if not here:
                return {}
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in here]
            asked = self._client.describe_configs(resources, request_timeout=self._timeout_s)
            settings = {resource.name: future.result() for resource, future in asked.items()}
        return {
            name: TopicState(
                name=name,
                partitions=len(known[name].partitions),
                replication=min(len(partition.replicas) for partition in known[name].partitions.values()),
                settings={key: entry.value or "" for key, entry in settings[name].items()},
            )
            for name in here
        }

    def create(self, topic: TopicState) -> None:
        """Make it, and wait until it can be used."""
        wanted = NewTopic(topic.name, topic.partitions, topic.replication, config=dict(topic.settings))
        try:
            self._client.create_topics([wanted], request_timeout=self._timeout_s)[topic.name].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise translate(error, f"creating topic {topic.name}") from error
        until = monotonic() + self._timeout_s
        while not self._ready(topic.name):
            if monotonic() > until:
                raise Retriable(f"topic {topic.name} was created, but its partitions have no leaders yet")
            sleep(_PAUSE_S)

    def _ready(self, name: str) -> bool:
        with translated(f"looking at topic {name}"):
            found = self._client.list_topics(timeout=self._timeout_s).topics.get(name)
        if found is None or found.error is not None or not found.partitions:
            return False
        return all(partition.leader >= 0 and partition.error is None for partition in found.partitions.values())

    def ends(self, topics: Sequence[str]) -> dict[Partition, tuple[int, int]]:
        """First and last stable offset of every partition."""
        found: dict[Partition, tuple[int, int]] = {}
        for topic in self.topics(topics):
            found |= self._reader.bounds(topic)
        return found

    def committed(self, group: str, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """A group's offsets in these."""
        if group not in self._groups:
            self._groups[group] = GroupOffsets(self._settings, group, settled=False)
        found = self._groups[group].of(partitions)
        return {partition: offset for partition, offset in found.items() if offset is not None}

    def close(self) -> None:
        """Leave."""
        with ExitStack() as closing:
            closing.callback(self._reader.close)
            for offsets in self._groups.values():
                closing.callback(offsets.close)

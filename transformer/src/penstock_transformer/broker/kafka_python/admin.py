"""Topics and where groups stand, on kafka-python."""

from collections.abc import Sequence
from time import monotonic, sleep

from kafka import KafkaAdminClient, errors
from kafka.admin import ConfigResource, ConfigResourceType

from penstock_transformer.broker.kafka_python.errors import translated
from penstock_transformer.broker.kafka_python.options import build, connection
from penstock_transformer.broker.kafka_python.reader import KafkaPythonReader
from penstock_transformer.broker.port import BrokerError, TopicState
from penstock_transformer.broker.records import Partition
from penstock_transformer.broker.settings import BrokerSettings

_PAUSE_S = 0.1


class KafkaPythonAdmin:
    """See `broker.port.Admin`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._timeout_ms = int(settings.kafka_timeout_s * 1000)
        options = connection(settings, f"penstock-{settings.instance}")
        del options["metrics_enabled"]
        with translated("reaching Kafka"):
            self._client = build(KafkaAdminClient, options)
            self._reader = KafkaPythonReader(settings)

    def topics(self, names: Sequence[str]) -> dict[str, TopicState]:
        """The topics of these that exist."""
        if not names:
            return {}
        with translated("looking at topics"):
            described = [found for found in self._client.describe_topics(list(names)) if not found["error_code"]]
            if not described:
                return {}
            resources = [ConfigResource(ConfigResourceType.TOPIC, found["name"]) for found in described]
            settings = self._client.describe_configs(resources, config_filter="all")["topic"]
        return {
            found["name"]: TopicState(
                name=found["name"],
                partitions=len(found["partitions"]),
                replication=min((len(partition["replica_nodes"]) for partition in found["partitions"]), default=0),
                settings={key: entry["value"] or "" for key, entry in settings.get(found["name"], {}).items()},
            )
            for found in described
        }

    def create(self, topic: TopicState) -> None:
        """Make it, and wait until it can be used."""
        wanted = {
            "num_partitions": topic.partitions,
            "replication_factor": topic.replication,
            "configs": dict(topic.settings),
        }
        with translated(f"creating topic {topic.name}"):
            try:
                self._client.create_topics({topic.name: wanted}, timeout_ms=self._timeout_ms, wait_for_metadata=True)
            except errors.TopicAlreadyExistsError:
                self._client.wait_for_topics([topic.name], timeout_ms=self._timeout_ms)

    def ends(self, topics: Sequence[str]) -> dict[Partition, tuple[int, int]]:
        """First and last stable offset of every partition."""
        found: dict[Partition, tuple[int, int]] = {}
        for topic in self.topics(topics):
            found |= self._reader.bounds(topic)
        return found

    def committed(self, group: str, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """A group's offsets in these."""
        until = monotonic() + self._timeout_ms / 1000
        with translated(f"looking at group {group}"):
            while True:
                try:
                    found = self._client.list_group_offsets({group: None})[group]
                    break
                except errors.GroupIdNotFoundError:
                    return {}
                except (errors.CoordinatorNotAvailableError, errors.CoordinatorLoadInProgressError):
                    # A cluster makes room for groups when it is asked for the first.
                    if monotonic() >= until:
                        raise
                sleep(_PAUSE_S)
        known = {Partition(place.topic, place.partition): entry.offset for place, entry in found.items()}
        return {partition: known[partition] for partition in partitions if known.get(partition, -1) >= 0}

    def close(self) -> None:
        """Leave."""
        try:
            self._reader.close()
        except BrokerError:
            pass
        with translated("leaving Kafka"):
            self._client.close()

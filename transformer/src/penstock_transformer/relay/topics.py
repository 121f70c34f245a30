"""The topics that the relay writes: the markers', which is its own, and a model's requests.

The markers' topic is the relay's memory: compacted, so that it stays small and nothing in it grows old. It is made whenever it is
missing; requests are made with it only where the settings say so (`--kafka_create_topics`).
"""

from penstock_transformer.broker.opening import open_admin
from penstock_transformer.broker.port import Admin, BrokerError, TopicState
from penstock_transformer.broker.settings import TopicSettings
from penstock_transformer.relay.publishing import MARKERS


class RelayTopics:
    """Sees to it that topics are there, each asked for once."""

    def __init__(self, settings: TopicSettings) -> None:
        self._settings = settings

    def markers(self) -> None:
        """Raises BrokerError for a topic of that name that forgets."""
        wanted = TopicState(MARKERS, 1, self._settings.kafka_replication, {"cleanup.policy": "compact", **self._insync()})
        admin = open_admin(self._settings)
        try:
            found = admin.topics([MARKERS]).get(MARKERS)
            if found is None:
                admin.create(wanted)
            elif found.settings.get("cleanup.policy", "compact") != "compact":
                policy = found.settings["cleanup.policy"]
                raise BrokerError(f"topic {MARKERS}: cleanup.policy: expected compact, got {policy}; a relay must not forget")
        finally:
            admin.close()

    def requests(self, model: str) -> None:
        """Make a model's topic, if that is ours to do."""
        settings = self._settings
        if not settings.kafka_create_topics:
            return
        admin = open_admin(settings)
        try:
            self._create(admin, f"{model}.requests")
        finally:
            admin.close()

    def _create(self, admin: Admin, name: str) -> None:
        settings = self._settings
        if name not in admin.topics([name]):
            made = {"retention.ms": str(int(settings.kafka_retention_h * 3_600_000)), **self._insync()}
            admin.create(TopicState(name, settings.kafka_partitions, settings.kafka_replication, made))

    def _insync(self) -> dict[str, str]:
        return {"min.insync.replicas": str(min(self._settings.kafka_min_insync, self._settings.kafka_replication))}

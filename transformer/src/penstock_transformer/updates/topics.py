"""The topics of updates: `<feature set>.updates` and `<feature set>.updates.dead-letters`; made where the settings say so."""

from collections.abc import Sequence

from penstock_transformer.broker.opening import open_admin
from penstock_transformer.broker.port import BrokerError, TopicState
from penstock_transformer.broker.settings import TopicSettings
from penstock_transformer.broker.topics import create


def updates_topic(name: str) -> str:
    """Where the updates of a feature set are."""
    return f"{name}.updates"


def letters_topic(name: str) -> str:
    """Where its updates go that could not be written."""
    return f"{name}.updates.dead-letters"


def prepare_topics(settings: TopicSettings, names: Sequence[str]) -> None:
    """See to it that the topics of these feature sets are there. Raises BrokerError naming those that are not, Retriable."""
    wanted = [topic for name in names for topic in (updates_topic(name), letters_topic(name))]
    admin = open_admin(settings)
    try:
        missing = [topic for topic in wanted if topic not in admin.topics(wanted)]
        if missing and not settings.kafka_create_topics:
            raise BrokerError(f"there is no topic {', '.join(missing)}; make them, or say --kafka_create_topics true")
        for topic in missing:
            create(admin, TopicState(topic, settings.kafka_partitions, settings.kafka_replication, _made(settings)))
    finally:
        admin.close()


def _made(settings: TopicSettings) -> dict[str, str]:
    retention_ms = int(settings.kafka_retention_h * 3_600_000)
    insync = min(settings.kafka_min_insync, settings.kafka_replication)
    return {"retention.ms": str(retention_ms), "min.insync.replicas": str(insync)}

"""The topics of a model, and the relay's: their names, how they are made, and what is wrong with those that exist.

    <model>.requests -> <model>.predictions, <model>.dead-letters        <feature set>.updates        penstock.relays

Nothing is created unless the settings say so. What exists is never changed, only judged: each fault says how to mend it with
Kafka's own tools. A `grave` one breaks a guarantee or stops the work; the others weaken what a record survives.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from penstock_transformer.broker.port import Admin, BrokerError, TopicState
from penstock_transformer.broker.settings import TopicSettings

MARKERS = "penstock.relays"
# A dead letter is its request and says what was wrong with it; a record takes more in a batch than its parts.
_HEADROOM_BYTES = 2**17


def requests_topic(model: str) -> str:
    """What a model is asked."""
    return f"{model}.requests"


def predictions_topic(model: str) -> str:
    """What it answers."""
    return f"{model}.predictions"


def dead_letters_topic(model: str) -> str:
    """What could not be answered."""
    return f"{model}.dead-letters"


def updates_topic(feature_set: str) -> str:
    """Values of features as they change."""
    return f"{feature_set}.updates"


class Fault(NamedTuple):
    """What is wrong with a topic, and how to mend it."""

    topic: str
    text: str
    mend: str
    grave: bool

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.text}; mend: {self.mend}"


def model_topics(settings: TopicSettings, model: str) -> list[TopicState]:
    """A model's three, as they are made."""
    return [log_topic(settings, name(model)) for name in (requests_topic, predictions_topic, dead_letters_topic)]


def log_topic(settings: TopicSettings, name: str) -> TopicState:
    """A topic whose records are kept for a time."""
    made = {"cleanup.policy": "delete", "retention.ms": str(int(settings.kafka_retention_h * 3_600_000))}
    return TopicState(name, settings.kafka_partitions, settings.kafka_replication, made | _durable(settings))


def markers_topic(settings: TopicSettings) -> TopicState:
    """The relay's memory: the newest record of each key is kept for ever."""
    return TopicState(MARKERS, 1, settings.kafka_replication, {"cleanup.policy": "compact"} | _durable(settings))


def _durable(settings: TopicSettings) -> dict[str, str]:
    return {
        "min.insync.replicas": str(min(settings.kafka_min_insync, settings.kafka_replication)),
        "max.message.bytes": str(settings.record_bytes + _HEADROOM_BYTES),
        "unclean.leader.election.enable": "false",
    }


def prepare(admin: Admin, settings: TopicSettings, wanted: Sequence[TopicState]) -> list[Fault]:
    """Create what is missing, if the settings say so, and judge what is there. Raises Retriable, BrokerError."""
    found = admin.topics([topic.name for topic in wanted])
    if settings.kafka_create_topics:
        missing = [topic for topic in wanted if topic.name not in found]
        for topic in missing:
            create(admin, topic)
        if missing:
            found = admin.topics([topic.name for topic in wanted])
    return check(found, wanted)


def create(admin: Admin, topic: TopicState) -> None:
    """Make a topic. Raises Retriable; BrokerError, which says what a small cluster may want."""
    try:
        admin.create(topic)
    except BrokerError as error:
        if error.retryable:
            raise
        hint = "a small cluster may want --kafka_replication 1 --kafka_min_insync 1"
        raise BrokerError(f"{error.message}; {hint}" if topic.replication > 1 else error.message) from error


def check(found: dict[str, TopicState], wanted: Iterable[TopicState]) -> list[Fault]:
    """What is wrong with the topics that are there, and which are not."""
    faults = [fault for topic in wanted for fault in _judge(found.get(topic.name), topic)]
    return faults + [fault for name in found for fault in _unpaired(found, name)]


def _judge(found: TopicState | None, wanted: TopicState) -> Iterator[Fault]:
    name = wanted.name
    if found is None:
        options = " ".join(f"--config {key}={value}" for key, value in wanted.settings.items())
        made = f"--partitions {wanted.partitions} --replication-factor {wanted.replication} {options}"
        yield Fault(name, "does not exist", f"--kafka_create_topics, or kafka-topics --create --topic {name} {made}", True)
        return
    least = _number(found, "min.insync.replicas", 1)
    if least > found.replication:
        text = f"min.insync.replicas is {least} and there are {found.replication} copies: nothing can be written"
        yield Fault(name, text, _alter(name, "min.insync.replicas", str(found.replication)), True)
    if _policy(found) != _policy(wanted):
        lost = "records would be forgotten" if _policy(wanted) == {"compact"} else "older records of a key would be removed"
        text = f"cleanup.policy is {found.settings.get('cleanup.policy', 'delete')}: {lost}"
        yield Fault(name, text, _alter(name, "cleanup.policy", wanted.settings["cleanup.policy"]), True)
    if found.settings.get("unclean.leader.election.enable", "false") == "true":
        text = "unclean.leader.election.enable is true: a failed broker may take committed records with it"
        yield Fault(name, text, _alter(name, "unclean.leader.election.enable", "false"), True)
    yield from _weaknesses(found, wanted, least)


def _weaknesses(found: TopicState, wanted: TopicState, least: int) -> Iterator[Fault]:
    name = wanted.name
    if found.replication < wanted.replication:
        text = f"has {found.replication} copies where {wanted.replication} are expected"
        yield Fault(name, text, "kafka-reassign-partitions, or a smaller --kafka_replication", False)
    if least < min(_number(wanted, "min.insync.replicas", 1), found.replication):
        expected = wanted.settings["min.insync.replicas"]
        text = f"min.insync.replicas is {least} where {expected} are expected: a record can be lost with one broker"
        yield Fault(name, text, _alter(name, "min.insync.replicas", expected), False)
    size, expected_size = _number(found, "max.message.bytes", 1_048_588), _number(wanted, "max.message.bytes", 0)
    if size < expected_size:
        text = f"max.message.bytes is {size} where records of {expected_size} may come: larger ones become dead letters"
        yield Fault(name, text, _alter(name, "max.message.bytes", str(expected_size)), False)
    kept, expected_ms = _number(found, "retention.ms", 604_800_000), _number(wanted, "retention.ms", 0)
    if 0 <= kept < expected_ms:
        text = f"retention.ms is {kept} where {expected_ms} is expected: records may go before they are read"
        yield Fault(name, text, _alter(name, "retention.ms", str(expected_ms)), False)


def _unpaired(found: dict[str, TopicState], name: str) -> Iterator[Fault]:
    """A prediction goes to the partition of its request: there must be one."""
    model = name.removesuffix(".requests")
    for other in (predictions_topic(model), dead_letters_topic(model)):
        if model != name and other in found and found[other].partitions < found[name].partitions:
            count = found[name].partitions
            text = (
                f"has {found[other].partitions} partitions and {name} has {count}: predictions would lose their requests' order"
            )
            yield Fault(other, text, f"kafka-topics --alter --topic {other} --partitions {count}", True)


def _policy(topic: TopicState) -> set[str]:
    return {part.strip() for part in topic.settings.get("cleanup.policy", "delete").split(",")}


def _number(topic: TopicState, key: str, default: int) -> int:
    return int(topic.settings.get(key) or default)


def _alter(topic: str, key: str, value: str) -> str:
    return f"kafka-configs --alter --entity-type topics --entity-name {topic} --add-config {key}={value}"

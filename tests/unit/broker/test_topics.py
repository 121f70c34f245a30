"""A model's topics: their names, and what is grave or weak about those that are there."""

from penstock_transformer.broker.port import TopicState
from penstock_transformer.broker.settings import TopicSettings
from penstock_transformer.broker.topics import (
    MARKERS,
    check,
    dead_letters_topic,
    log_topic,
    markers_topic,
    model_topics,
    predictions_topic,
    requests_topic,
    updates_topic,
)

SETTINGS = TopicSettings()


def altered(topic: TopicState, partitions: int = 6, replication: int = 3, **settings: str) -> TopicState:
    changed = {name.replace("_", "."): value for name, value in settings.items()}
    return TopicState(topic.name, partitions, replication, topic.settings | changed)


def texts(found: TopicState, wanted: TopicState) -> list[tuple[str, bool]]:
    return [(fault.text, fault.grave) for fault in check({found.name: found}, [wanted])]


def test_names() -> None:
    names = [requests_topic("m"), predictions_topic("m"), dead_letters_topic("m"), updates_topic("f")]
    assert names == ["m.requests", "m.predictions", "m.dead-letters", "f.updates"]
    assert markers_topic(SETTINGS).name == MARKERS


def test_what_is_made_is_without_fault() -> None:
    for topic in [*model_topics(SETTINGS, "m"), markers_topic(SETTINGS), log_topic(SETTINGS, "f.updates")]:
        assert texts(topic, topic) == []


def test_a_topic_that_forgets_or_removes_is_grave() -> None:
    requests, *_ = model_topics(SETTINGS, "m")
    assert [grave for _, grave in texts(altered(requests, cleanup_policy="compact,delete"), requests)] == [True]
    markers = markers_topic(SETTINGS)
    assert [grave for _, grave in texts(altered(markers, cleanup_policy="delete"), markers)] == [True]


def test_more_copies_demanded_than_there_are_is_grave() -> None:
    requests, *_ = model_topics(SETTINGS, "m")
    found = texts(altered(requests, replication=1, min_insync_replicas="2"), requests)
    assert ("min.insync.replicas is 2 and there are 1 copies: nothing can be written", True) in found


def test_what_a_record_survives_less_with_is_a_weakness() -> None:
    requests, *_ = model_topics(SETTINGS, "m")
    assert [grave for _, grave in texts(altered(requests, min_insync_replicas="1"), requests)] == [False]
    assert [grave for _, grave in texts(altered(requests, replication=2), requests)] == [False]
    assert [grave for _, grave in texts(altered(requests, max_message_bytes="1048588"), requests)] == [False]
    assert [grave for _, grave in texts(altered(requests, retention_ms="1000"), requests)] == [False]
    assert texts(altered(requests, retention_ms="-1"), requests) == []
    assert [grave for _, grave in texts(altered(requests, unclean_leader_election_enable="true"), requests)] == [True]


def test_predictions_need_a_partition_for_each_of_their_requests() -> None:
    requests, predictions, dead_letters = model_topics(SETTINGS, "m")
    found = {topic.name: topic for topic in (altered(requests, partitions=8), predictions, altered(dead_letters, partitions=9))}
    (fault,) = check(found, [requests, predictions, dead_letters])
    assert (fault.topic, fault.grave) == ("m.predictions", True)
    assert fault.mend == "kafka-topics --alter --topic m.predictions --partitions 8"

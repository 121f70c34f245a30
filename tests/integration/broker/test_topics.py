"""Topics as they are made on a real broker, and what is said of those that somebody else made."""

from typing import Any

import pytest

from penstock_transformer.broker.port import BrokerError, TopicState
from penstock_transformer.broker.records import OutRecord, Partition
from penstock_transformer.broker.settings import TopicSettings
from penstock_transformer.broker.topics import markers_topic, model_topics, prepare


def settings_of(bed: Any, **changes: Any) -> TopicSettings:
    given: dict[str, Any] = {
        "kafka_bootstrap": bed.kafka.bootstrap,
        "kafka_client": bed.client,
        "kafka_timeout_s": 15.0,
        "kafka_partitions": 3,
        "kafka_replication": 1,
        "kafka_min_insync": 1,
    }
    return TopicSettings(**(given | changes))


def test_what_is_created_is_found_without_fault(bed: Any) -> None:
    settings = settings_of(bed, kafka_create_topics=True)
    admin = bed.admin()
    wanted = model_topics(settings, bed.name)
    assert prepare(admin, settings, wanted) == []
    found = admin.topics([topic.name for topic in wanted] + ["not.there"])
    assert {name: (topic.partitions, topic.replication) for name, topic in found.items()} == {
        f"{bed.name}.{suffix}": (3, 1) for suffix in ("requests", "predictions", "dead-letters")
    }
    assert prepare(admin, settings, wanted) == []
    admin.create(wanted[0])
    bed.producer().send([OutRecord(wanted[0].name, b"k", b"v", partition=1)])
    assert admin.ends([wanted[0].name])[Partition(wanted[0].name, 1)] == (0, 1)
    assert admin.ends(["not.there"]) == {}
    assert admin.committed("nobody", [Partition(wanted[0].name, 1)]) == {}


def test_what_is_missing_is_told_and_not_created(bed: Any) -> None:
    settings = settings_of(bed)
    wanted = model_topics(settings, bed.name)
    faults = prepare(bed.admin(), settings, wanted)
    assert [(fault.topic, fault.grave) for fault in faults] == [(topic.name, True) for topic in wanted]
    assert bed.admin().topics([topic.name for topic in wanted]) == {}
    # What it says to run makes what is wanted.
    command = faults[0].mend.split("or kafka-topics ")[1].split()
    bed.kafka.console("kafka-topics", *command)
    assert [fault.topic for fault in prepare(bed.admin(), settings, wanted)] == [topic.name for topic in wanted[1:]]


def test_a_topic_that_somebody_else_made_is_judged_and_mended(bed: Any) -> None:
    settings = settings_of(bed)
    requests, predictions, dead_letters = model_topics(settings, bed.name)
    admin = bed.admin()
    admin.create(TopicState(requests.name, 4, 1, {"cleanup.policy": "compact", "max.message.bytes": "1000"}))
    admin.create(predictions)
    admin.create(TopicState(dead_letters.name, 4, 1, dead_letters.settings))
    faults = prepare(admin, settings, [requests, predictions, dead_letters])
    assert {(fault.topic, fault.text.split()[0]) for fault in faults} == {
        (requests.name, "cleanup.policy"),
        (requests.name, "max.message.bytes"),
        (predictions.name, "has"),
    }
    for fault in faults:
        tool, *arguments = fault.mend.split()
        bed.kafka.console(tool, *arguments)
    assert prepare(admin, settings, [requests, predictions, dead_letters]) == []


def test_a_cluster_that_is_too_small_is_told_with_what_to_do(bed: Any) -> None:
    settings = settings_of(bed, kafka_create_topics=True, kafka_replication=3, kafka_min_insync=2)
    with pytest.raises(BrokerError, match="--kafka_replication 1") as caught:
        prepare(bed.admin(), settings, model_topics(settings, bed.name))
    assert not caught.value.retryable


def test_the_markers_are_read_from_end_to_end(bed: Any) -> None:
    topic = markers_topic(settings_of(bed))
    admin = bed.admin()
    admin.create(TopicState(f"{bed.name}.{topic.name}", topic.partitions, topic.replication, topic.settings))
    name = f"{bed.name}.{topic.name}"
    outlet = bed.outlet()
    reader = bed.reader()
    assert list(reader.read(name)) == []
    for number in range(3):
        outlet.commit([OutRecord(name, b"slot", b"%d" % number)], {}, None)
    assert bed.settled(name) == [b"0", b"1", b"2"]
    assert [record.value for record in reader.read(name)] == [b"0", b"1", b"2"]
    assert [record.value for record in reader.read(name, {Partition(name, 0): 2})] == [b"1", b"2"]
    with pytest.raises(BrokerError, match="does not exist"):
        list(reader.read("not.there"))

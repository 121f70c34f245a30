"""The topics of the chaos, made before anybody starts to work."""

from cast import MODEL, PARTITIONS
from confluent_kafka.admin import AdminClient, NewTopic


def make_topics(bootstrap: str) -> None:
    """Requests, predictions and dead letters in several partitions, the relays' marks compacted."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    names = [f"{MODEL}.requests", f"{MODEL}.predictions", f"{MODEL}.dead-letters"]
    topics = [NewTopic(name, PARTITIONS, 1) for name in names]
    topics.append(NewTopic("penstock.relays", 1, 1, config={"cleanup.policy": "compact"}))
    for made in admin.create_topics(topics).values():
        made.result(30)

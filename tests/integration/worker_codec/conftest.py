"""A real Kafka, once for all tests here; each test has a model, and so topics, of its own."""

import itertools
from collections.abc import Callable

import pytest

from penstock.testing.kafka import KafkaServer
from penstock_transformer.broker.opening import open_admin, open_producer, open_reader
from penstock_transformer.broker.port import TopicState
from penstock_transformer.broker.records import OutRecord, Record
from penstock_transformer.broker.settings import BrokerSettings

_numbers = itertools.count(1)


class Topics:
    """One model's topics on the broker."""

    def __init__(self, settings: BrokerSettings, model: str) -> None:
        self.settings = settings
        self.model = model
        admin = open_admin(settings)
        for kind in ("requests", "predictions", "dead-letters"):
            admin.create(TopicState(f"{model}.{kind}", 2, 1, {}))
        admin.close()

    def write(self, records: list[OutRecord]) -> None:
        producer = open_producer(self.settings)
        producer.send(records)
        producer.close()

    def read(self, kind: str) -> list[Record]:
        """What a `read_committed` reader sees of `<model>.<kind>`."""
        reader = open_reader(self.settings)
        found = list(reader.read(f"{self.model}.{kind}"))
        reader.close()
        return found


@pytest.fixture
def topics(kafka: KafkaServer) -> Callable[[], Topics]:
    return lambda: Topics(BrokerSettings(kafka_bootstrap=kafka.bootstrap), f"flights{next(_numbers)}")

"""Who asks where a group stands while the broker goes away lives on, and is told when it is back."""

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.testing.kafka import KafkaServer
from penstock_transformer.broker.records import Partition


@pytest.fixture
def own(client: str, helpers: Any) -> Iterator[Any]:
    """A bed on a broker that dies and comes back as it likes."""
    with KafkaServer() as kafka:
        made = helpers.Bed(kafka, client)
        yield made
        made.close()


def test_a_broker_that_goes_away_ends_nobody_who_asks(own: Any, helpers: Any) -> None:
    topic = own.topic()
    own.producer().send(helpers.records_of(topic, 3))
    intake, _ = own.joined(topic)
    helpers.take(intake, 3)
    own.outlet().commit([], {Partition(topic, 0): 3}, intake.group())
    asking = own.child("asking.py", topic)
    told = {asking.stdout.readline(), asking.stdout.readline()}
    assert told == {"admin 3\n", "intake 3\n"}
    for _ in range(2):
        own.kafka.kill()
        told = set()
        while not told >= {"admin away\n", "intake away\n"}:
            told.add(asking.stdout.readline())
            assert asking.poll() is None
        own.kafka.start()
        while not told >= {"admin 3\n", "intake 3\n"}:
            told.add(asking.stdout.readline())
            assert asking.poll() is None

"""Relay and sink are cut off from Kafka and the database, with packets held, and come back: each id is there once and ends once.
Needs root, for a network namespace."""

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.testing.kafka import KafkaServer
from penstock.testing.private_network import PrivateNetwork
from penstock.testing.servers import PostgresServer
from penstock.testing.shared_servers import started

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def network() -> Iterator[PrivateNetwork]:
    with started(PrivateNetwork) as made:
        yield made


@pytest.fixture(scope="module")
def kafka(network: PrivateNetwork) -> Iterator[KafkaServer]:
    """One that both sides of the cut reach."""

    def make() -> KafkaServer:
        server = KafkaServer()
        server.host = network.host
        return server

    with started(make) as server:
        yield server


@pytest.fixture(scope="module")
def postgres(network: PrivateNetwork) -> Iterator[PostgresServer]:
    """The same."""

    def make() -> PostgresServer:
        server = PostgresServer()
        server.host = network.host
        return server

    with started(make) as server:
        yield server


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_relay_and_sink_that_are_cut_off_and_come_back(place: Any, network: PrivateNetwork, client: str) -> None:
    options = ("--kafka_client", client)
    place.prefix = network.prefix
    place.relay(*options, instance="a").wait_ready()
    place.sink(*options, instance="a").wait_ready()
    with place.answering():
        place.submit(30)
        # A short one: what is held up arrives when it is over.
        network.cut()
        try:
            place.submit(20)
        finally:
            network.mend()
        place.submit(10)
        network.cut()
        try:
            place.submit(10)
            # Others take over what those hold who cannot be reached.
            place.prefix = ()
            place.relay(*options, instance="b").wait_ready()
            place.sink(*options, instance="b").wait_ready()
            place.submit(10)
            place.wait_ended(place.submitted, 60)
        finally:
            network.mend()
        place.submit(30)
        place.wait_ended(place.submitted, 60)
    place.check()

"""One real Kafka for the area, both clients by turns, and for each test its own topics, group and names."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from penstock.testing.kafka import KafkaServer
from penstock_transformer.broker.opening import (
    open_admin,
    open_alternating,
    open_intake,
    open_outlet,
    open_producer,
    open_reader,
    transactional_id,
)
from penstock_transformer.broker.port import Admin, Intake, Outlet, Producer, Reader, TopicState
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.broker.settings import CLIENTS, BrokerSettings

HERE = Path(__file__).parent
DEADLINE_S = 30.0
_NUMBER = itertools.count(1)


class Members(list[tuple[str, tuple[Partition, ...]]]):
    """What a member of a group was told, in order; `owned` is what it has now."""

    def __init__(self, on_revoked: Callable[[Sequence[Partition]], None] | None = None) -> None:
        self.owned: set[Partition] = set()
        self._on_revoked = on_revoked

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.append(("assigned", tuple(partitions)))
        self.owned |= set(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        self.append(("revoked", tuple(partitions)))
        self.owned -= set(partitions)
        if self._on_revoked is not None:
            self._on_revoked(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        self.append(("lost", tuple(partitions)))
        self.owned -= set(partitions)

    def named(self, what: str) -> set[Partition]:
        return {partition for event, partitions in self for partition in partitions if event == what}


class Bed:
    """What a test needs of the broker through one client, closed when the test ends."""

    def __init__(self, kafka: KafkaServer, client: str, **settings: Any) -> None:
        self.kafka = kafka
        self.client = client
        self.name = f"t{next(_NUMBER)}-{os.getpid()}"
        self.group = f"{self.name}-group"
        self.settings = self.make(**settings)
        self._closing: list[Callable[[], None]] = []

    def make(self, **settings: Any) -> BrokerSettings:
        given: dict[str, Any] = {
            "kafka_bootstrap": self.kafka.bootstrap,
            "kafka_client": self.client,
            "kafka_instance": self.name,
            "kafka_timeout_s": 15.0,
            "kafka_session_timeout_s": 6.0,
            "kafka_metadata_age_s": 0.5,
        }
        return BrokerSettings(**(given | settings))

    def topic(self, suffix: str = "a", partitions: int = 1, **settings: str) -> str:
        admin = self.admin()
        name = f"{self.name}.{suffix}"
        admin.create(TopicState(name, partitions, 1, {key.replace("_", "."): value for key, value in settings.items()}))
        return name

    def admin(self, settings: BrokerSettings | None = None) -> Admin:
        return self._kept(open_admin(settings or self.settings))

    def producer(self, settings: BrokerSettings | None = None) -> Producer:
        return self._kept(open_producer(settings or self.settings))

    def reader(self, settings: BrokerSettings | None = None) -> Reader:
        return self._kept(open_reader(settings or self.settings))

    def intake(self, settings: BrokerSettings | None = None) -> Intake:
        return self._kept(open_intake(settings or self.settings, self.group))

    def joined(
        self, topic: str, settings: BrokerSettings | None = None, members: Members | None = None
    ) -> tuple[Intake, Members]:
        """A member that has at least one partition."""
        intake = self.intake(settings)
        members = members if members is not None else Members()
        intake.subscribe([topic], members)
        until(lambda: bool(intake.poll(0.1, 1) or members.owned))
        for partition in members.owned:
            intake.seek(partition, 0)
        return intake, members

    def outlet(self, settings: BrokerSettings | None = None) -> Outlet:
        chosen = settings or self.settings
        outlet = self._kept(open_outlet(chosen, transactional_id(chosen, self.group)))
        outlet.open()
        return outlet

    def alternating(self, settings: BrokerSettings | None = None) -> Outlet:
        """As a worker has it."""
        chosen = settings or self.settings
        outlet = self._kept(open_alternating(chosen, transactional_id(chosen, self.group)))
        outlet.open()
        return outlet

    def visible(self, topic: str) -> list[bytes | None]:
        """The values that a `read_committed` reader sees now, by partition and offset."""
        records = list(self.reader().read(topic))
        return [record.value for record in sorted(records, key=lambda record: (record.partition, record.offset))]

    def settled(self, topic: str) -> list[bytes | None]:
        """The same once no transaction on it is under way: its end is marked a moment after the commit was answered."""
        reader = self.reader()
        until(lambda: _last_offsets(self.kafka, topic) == {p.number: end for p, (_, end) in reader.bounds(topic).items()})
        return self.visible(topic)

    def child(self, script: str, *arguments: str) -> "subprocess.Popen[str]":
        """A Python program of this folder in a process of its own, given the client, the bootstrap and the group."""
        command = [sys.executable, str(HERE / script), self.client, self.kafka.bootstrap, self.name, self.group, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._closing.append(lambda: _end(process))
        return process

    def _kept(self, part: Any) -> Any:
        self._closing.append(part.close)
        return part

    def close(self) -> None:
        for close in reversed(self._closing):
            try:
                close()
            except Exception as error:
                # A part that a test broke on purpose may not be able to leave in order.
                print(f"closing: {error}")


def _last_offsets(kafka: KafkaServer, topic: str) -> dict[int, int]:
    """One past the last record of each partition, whether its transaction is over or not."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "none", "isolation.level": "read_uncommitted"})
    end = time.monotonic() + DEADLINE_S
    try:
        while True:
            try:
                numbers = consumer.list_topics(topic, timeout=10).topics[topic].partitions
                places = [TopicPartition(topic, number) for number in numbers]
                return {place.partition: consumer.get_watermark_offsets(place, timeout=10)[1] for place in places}
            except KafkaException:
                # A broker that has just come back leads its partitions a moment later.
                if time.monotonic() >= end:
                    raise
                time.sleep(0.1)
    finally:
        consumer.close()


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def until(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Ask until it holds. The condition waits by itself where waiting is due."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "it did not come about"


def take(intake: Intake, count: int) -> list[Record]:
    """So many records."""
    taken: list[Record] = []
    until(lambda: bool(taken.extend(intake.poll(0.5, count - len(taken))) or len(taken) >= count))
    return taken


def polled(intake: Intake) -> bool:
    """Poll once, for a condition that only polling brings about."""
    intake.poll(0.2, 100)
    return True


def records_of(topic: str, count: int, start: int = 0, partition: int | None = None) -> list[OutRecord]:
    return [OutRecord(topic, b"k%d" % number, b"v%d" % number, partition=partition) for number in range(start, start + count)]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bed(kafka: KafkaServer, client: str) -> Iterator[Bed]:
    made = Bed(kafka, client)
    yield made
    made.close()


@pytest.fixture
def helpers() -> type["Helpers"]:
    return Helpers


class Helpers:
    """For test modules, which cannot import this one."""

    Members = Members
    until = staticmethod(until)
    take = staticmethod(take)
    polled = staticmethod(polled)
    records_of = staticmethod(records_of)
    Bed = Bed

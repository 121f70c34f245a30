"""A real Kafka and the three kinds of real store; for each test a feature set of its own, and streams on it in processes."""

import asyncio
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import confluent_kafka as ck
import pytest

from penstock.features.reading import read_spec
from penstock.testing.committed import Seen, records
from penstock.testing.flights import write_store
from penstock.testing.kafka import KafkaServer
from penstock.testing.server import ServerProcess
from penstock.testing.servers import PostgresServer, RedisServer
from penstock.testing.shared_servers import started
from penstock_transformer.broker.opening import open_admin
from penstock_transformer.broker.port import TopicState
from penstock_transformer.broker.settings import BrokerSettings
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import SetRead

FEATURES = """
formatVersion: 1
sets: {SET: {view: planes, keys: {tailnum: tailnum}}}
features:
  - {name: seats, from: SET.seats, type: int64, missing: {default: 149}, encode: passthrough}
tensors: {x: [seats]}
store:
  project: flights
  keySerialization: 3
  views: {planes: {keys: {tailnum: string}, values: {seats: int64}}}
"""
POSTGRES_TABLE = """
CREATE TABLE IF NOT EXISTS flights_planes (
  entity_key BYTEA, feature_name TEXT, value BYTEA, value_text TEXT, vector_value BYTEA,
  event_ts TIMESTAMPTZ, created_ts TIMESTAMPTZ, PRIMARY KEY (entity_key, feature_name))
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with started(RedisServer) as server:
        yield server


@pytest.fixture(scope="session")
def flights_table(postgres: PostgresServer) -> PostgresServer:
    """The PostgreSQL with Feast's table of the view in it."""

    async def make_table() -> None:
        connection = await asyncpg.connect(postgres.url())
        await connection.execute(POSTGRES_TABLE)
        await connection.close()

    asyncio.run(make_table())
    return postgres


class Updates:
    """One test's feature set: its topics, its store, and the streams that write it."""

    def __init__(self, kafka: KafkaServer, url: str, folder: Path, stack: ExitStack, name: str | None = None) -> None:
        self.kafka, self.url = kafka, url
        self.name = name or f"planes{next(_numbers)}-{os.getpid()}"
        self.topic, self.letters = f"{self.name}.updates", f"{self.name}.updates.dead-letters"
        self.features = folder / "features.yaml"
        self.features.write_text(FEATURES.replace("SET", self.name))
        self.spec = read_spec(self.features.read_bytes())
        self._stack = stack
        self._producer = ck.Producer({"bootstrap.servers": kafka.bootstrap})
        admin = open_admin(BrokerSettings(kafka_bootstrap=kafka.bootstrap, kafka_client="confluent"))
        for topic in (self.topic, self.letters):
            admin.create(TopicState(topic, 2, 1, {}))
        admin.close()

    def key(self, number: int) -> str:
        """A key of this test's own: the stores are shared."""
        return f"{self.name}-N{number}"

    def options(self) -> list[str]:
        """How to reach Kafka, with time-outs for tests."""
        return [
            *("--kafka_bootstrap", self.kafka.bootstrap, "--kafka_transaction_timeout_s", "3", "--kafka_timeout_s", "9"),
            *("--kafka_session_timeout_s", "3", "--write_timeout_s", "1"),
        ]

    def stream(self, *options: str, failpoints: str = "") -> ServerProcess:
        """A `penstock-transformer updates` that was started; not awaited."""
        process = ServerProcess(
            "penstock_transformer",
            *("--feature_sets", self.name, "--features", str(self.features), "--drain_delay_s", "0"),
            *(*self.options(), "--kafka_instance", self.name, *options),
            env={"PENSTOCK_FAILPOINTS": failpoints, "PENSTOCK_TRANSFORMER_FEATURE_STORE": self.url},
            program=("updates",),
        )
        self._stack.callback(process.kill)
        return process.start()

    def send(self, number: int, seats: Any, event_time: float | None = None, *, headers: Sequence[Any] = ()) -> None:
        """One update."""
        document = {"keys": {"tailnum": self.key(number)}, "values": {"seats": seats}}
        if event_time is not None:
            document["event_time"] = event_time  # type: ignore[assignment]
        self.send_raw(json.dumps(document).encode(), key=self.key(number).encode(), headers=headers)

    def send_raw(self, value: bytes, *, key: bytes = b"k", headers: Sequence[Any] = ()) -> None:
        """Any bytes."""
        self._producer.produce(self.topic, value, key=key, headers=list(headers))
        self._producer.poll(0)

    def flush(self) -> None:
        """All are in Kafka."""
        assert self._producer.flush(30) == 0

    def seats(self, *numbers: int) -> list[int | None]:
        """What the store holds, read as serving reads it."""

        async def read() -> list[int | None]:
            assert self.spec.store is not None
            store = open_store(self.url, self.spec.store)
            await store.start()
            try:
                (found,) = await store.read([SetRead("planes", [(self.key(number),) for number in numbers], ("seats",))])
            finally:
                await store.close()
            return found.columns["seats"].to_list()

        return asyncio.run(read())

    def dead(self) -> list[Seen]:
        """The dead letters that are committed."""
        return records(self.kafka.bootstrap, self.letters)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return write_store(tmp_path / "online.db")


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def updates(request: pytest.FixtureRequest, kafka: KafkaServer, tmp_path: Path) -> Iterator[Updates]:
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    else:
        url = request.getfixturevalue("flights_table" if request.param == "postgres" else "redis").url()
    with ExitStack() as stack:
        yield Updates(kafka, url, tmp_path, stack)


@pytest.fixture
def updates_of_sqlite(kafka: KafkaServer, tmp_path: Path, sqlite_url: str) -> Iterator[Updates]:
    with ExitStack() as stack:
        yield Updates(kafka, sqlite_url, tmp_path, stack)


@pytest.fixture
def updates_of_redis(kafka: KafkaServer, tmp_path: Path, redis: RedisServer) -> Iterator[Updates]:
    with ExitStack() as stack:
        yield Updates(kafka, redis.url(), tmp_path, stack)
    if not redis.running:
        redis.start()

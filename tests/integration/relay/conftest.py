"""A real Kafka and a real PostgreSQL, relays in processes of their own, and predictions submitted through the port."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import asyncpg
import pytest

from penstock.testing.committed import ids, records
from penstock.testing.kafka import KafkaServer
from penstock.testing.server import ServerProcess
from penstock.testing.servers import PostgresServer
from penstock.testing.waiting import until
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.resource import NewPrediction, Payload, new_id

T = TypeVar("T")
JSON = (("content-type", b"application/json"),)
_numbers = itertools.count()


@dataclass
class Place:
    """One test's schema and model, and the relays that it starts."""

    kafka: KafkaServer
    postgres: PostgresServer
    database: str
    model: str
    stack: ExitStack
    submitted: list[str] = field(default_factory=list)

    def relay(self, *arguments: str, failpoints: str = "", instance: str = "a", lease_s: float = 1.0) -> ServerProcess:
        """A relay that was started; not awaited."""
        process = ServerProcess(
            "penstock_transformer",
            *("--kafka_bootstrap", self.kafka.bootstrap, "--kafka_instance", instance, "--drain_delay_s", "0"),
            *("--kafka_create_topics", "--kafka_replication", "1", "--kafka_partitions", "2", "--kafka_min_insync", "1"),
            *("--relay_lease_s", str(lease_s), "--relay_records", "10", "--kafka_timeout_s", "6", *arguments),
            env={"PENSTOCK_FAILPOINTS": failpoints, "PENSTOCK_TRANSFORMER_DATABASE": self.database},
            program=("relay",),
        )
        self.stack.callback(process.kill)
        return process.start()

    def using(self, case: Callable[[Any], Awaitable[T]]) -> T:
        """Run a case with the predictions of this place."""

        async def go() -> T:
            predictions = open_predictions(self.database)
            await predictions.start()
            try:
                async with asyncio.timeout(60):
                    return await case(predictions)
            finally:
                await predictions.close()

        return asyncio.run(go())

    def submit(self, count: int, **values: Any) -> list[str]:
        """Submit so many, each with the number of its turn; their ids, in that order."""

        async def case(predictions: Any) -> list[str]:
            made: list[str] = []
            for turn in range(count):
                body = b'{"rows": [{"x": %d}]}' % (len(self.submitted) + turn)
                given = {"payload": Payload(body, JSON, len(body)), **values}
                new = NewPrediction(new_id(), self.model, "ann", rows=1, digest=body, **given)
                await predictions.submit(new)
                made.append(new.id)
            return made

        made = self.using(case)
        self.submitted += made
        return made

    def make_requests_topic(self) -> None:
        """The model's requests, by Kafka's own tool."""
        size = {"max.message.bytes": "20000000", "min.insync.replicas": "1"}
        self.kafka.create_topic(f"{self.model}.requests", 2, size)

    def requests(self) -> list[Any]:
        """What is committed in the model's requests."""
        return records(self.kafka.bootstrap, f"{self.model}.requests")

    def wait_published(self, within_s: float = 40.0) -> list[Any]:
        """The requests, once all that was submitted is there. Each is there once."""
        wanted = set(self.submitted)

        def found() -> list[Any]:
            seen = self.requests()
            return seen if wanted <= set(ids(seen)) else []

        seen = until(found, within_s, "all that was submitted in the topic")
        assert ids(seen) == dict.fromkeys(self.submitted, 1)
        return seen

    def row_count(self, table: str, where: str = "true") -> int:
        """Rows of a table."""

        async def go() -> int:
            connection = await asyncpg.connect(self.database)
            try:
                found: int = await connection.fetchval(f"SELECT count(*) FROM {table} WHERE {where}")
                return found
            finally:
                await connection.close()

        return asyncio.run(go())


@pytest.fixture
def place(kafka: KafkaServer, postgres: PostgresServer, own_schema: str) -> Iterator[Place]:
    name = f"relay{next(_numbers)}"
    with ExitStack() as stack:
        yield Place(kafka, postgres, own_schema, f"m{name}", stack)

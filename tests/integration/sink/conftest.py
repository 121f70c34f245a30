"""A real Kafka and a real PostgreSQL; relay and sink in processes of their own, and a worker's part played by the test."""

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest

from penstock.errors import InvalidInput
from penstock.testing.committed import Seen, ids, records
from penstock.testing.kafka import KafkaServer
from penstock.testing.server import ServerProcess
from penstock.testing.servers import PostgresServer
from penstock.testing.waiting import until
from penstock_transformer.broker.opening import open_admin, open_intake, open_outlet, open_producer
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.broker.settings import TopicSettings
from penstock_transformer.broker.topics import model_topics, prepare
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.resource import NewPrediction, Payload, Prediction, State, new_id
from penstock_transformer.worker.dead_letters import DeadLetters
from penstock_transformer.worker.headers import id_of

T = TypeVar("T")
JSON = (("content-type", b"application/json"),)
_numbers = itertools.count()


@dataclass
class Place:
    """One test's schema and model, and the programs that it starts."""

    kafka: KafkaServer
    postgres: PostgresServer
    database: str
    model: str
    stack: ExitStack
    submitted: list[str] = field(default_factory=list)
    processes: list[ServerProcess] = field(default_factory=list)
    prefix: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def settings(self) -> TopicSettings:
        """As the programs have them."""
        return TopicSettings(
            kafka_bootstrap=self.kafka.bootstrap,
            kafka_client="confluent",
            kafka_create_topics=True,
            kafka_partitions=2,
            kafka_replication=1,
            kafka_min_insync=1,
        )

    def start(self, program: str, *arguments: str, failpoints: str = "", instance: str = "a") -> ServerProcess:
        """A relay or a sink that was started; not awaited."""
        process = ServerProcess(
            "penstock_transformer",
            *("--kafka_bootstrap", self.kafka.bootstrap, "--kafka_instance", instance, "--drain_delay_s", "0"),
            *("--kafka_timeout_s", "6", *arguments),
            env={"PENSTOCK_FAILPOINTS": failpoints, "PENSTOCK_TRANSFORMER_DATABASE": self.database, **self.environment},
            program=(program,),
            prefix=self.prefix,
        )
        self.processes.append(process)
        self.stack.callback(process.kill)
        return process.start()

    def sink(self, *arguments: str, failpoints: str = "", instance: str = "a") -> ServerProcess:
        """A sink of this place's model, which finds out quickly when another has died."""
        options = ("--models", self.model, "--sink_records", "10", "--kafka_session_timeout_s", "2")
        return self.start("sink", *options, *arguments, failpoints=failpoints, instance=instance)

    def relay(self, *arguments: str, failpoints: str = "", instance: str = "a") -> ServerProcess:
        """A relay of this place's database."""
        options = ("--kafka_replication", "1", "--kafka_min_insync", "1", "--relay_records", "10", "--relay_lease_s", "1")
        return self.start("relay", *options, *arguments, failpoints=failpoints, instance=instance)

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

    def submit(self, count: int, body: bytes = b"{}") -> list[str]:
        """Submit so many; their ids, in that order."""

        async def case(predictions: Any) -> list[str]:
            payload = Payload(body, JSON, len(body))
            made = [NewPrediction(new_id(), self.model, "ann", payload, 1, b"d") for _ in range(count)]
            for new in made:
                await predictions.submit(new)
            return [new.id for new in made]

        made = self.using(case)
        self.submitted += made
        return made

    def cancel(self, identity: str) -> State:
        """What who cancels this one is answered."""

        async def case(predictions: Any) -> State:
            state: State = (await predictions.cancel(identity, "ann")).state
            return state

        return self.using(case)

    def make_topics(self) -> None:
        """The model's three."""
        admin = open_admin(self.settings())
        prepare(admin, self.settings(), model_topics(self.settings(), self.model))
        admin.close()

    def answer(self, *ids: str, **headers: bytes) -> None:
        """Predictions of these, as a worker writes them."""
        given = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        self.write([self.answered(identity, given) for identity in ids])

    def answered(self, identity: str, more: Any = ()) -> OutRecord:
        """A prediction's record."""
        known = (("ce_id", identity.encode()), *JSON, ("penstock-bundle", b"m@sha256:1"), *more)
        return OutRecord(f"{self.model}.predictions", None, b"[1]", known)

    def refuse(self, *ids: str) -> None:
        """Dead letters of these."""
        letters = DeadLetters(f"{self.model}.dead-letters")
        place = Partition(f"{self.model}.requests", 0)
        requests = [Record(place, 0, 0, None, b"{}", (("ce_id", identity.encode()),)) for identity in ids]
        self.write([letters.of(request, InvalidInput("wrong", field="rows[0]"), None) for request in requests])

    def write(self, out: list[OutRecord]) -> None:
        """Write records."""
        producer = open_producer(self.settings())
        producer.send(out)
        producer.close()

    def requests(self) -> list[Seen]:
        """What is committed in the model's requests."""
        return records(self.kafka.bootstrap, f"{self.model}.requests")

    def predictions(self, ids: list[str]) -> dict[str, Prediction]:
        """These, as they are in the database now."""

        async def case(predictions: Any) -> dict[str, Prediction]:
            return {identity: await predictions.get(identity, None) for identity in ids}

        return self.using(case)

    def wait_ended(self, ids: list[str], within_s: float = 40.0) -> dict[str, Prediction]:
        """These, once all of them have ended."""

        def found() -> dict[str, Prediction] | None:
            kept = self.predictions(ids)
            return kept if all(one.ended_s is not None for one in kept.values()) else None

        try:
            ended = until(found, within_s, "all have ended")
        except AssertionError as error:
            states = Counter(one.state.value for one in self.predictions(ids).values())
            logs = [line[:400] for process in self.processes for line in ["---", *process.lines[-12:]]]
            raise AssertionError("\n".join([f"{error}; {states}; {len(self.requests())} requests", *logs])) from None
        assert ended is not None
        return ended

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A worker's part, played on a thread: every fifth request is refused, the others are answered, exactly once."""
        settings = replace(self.settings(), kafka_metadata_age_s=1.0)
        intake = open_intake(settings, f"workers-{self.model}")
        outlet = open_outlet(settings, f"workers-{self.model}")
        letters = DeadLetters(f"{self.model}.dead-letters")
        stopping = threading.Event()

        def run() -> None:
            outlet.open()
            intake.subscribe([f"{self.model}.requests"], _Nobody())
            seen = 0
            while not stopping.is_set():
                found = intake.poll(0.2, 100)
                out, offsets = [], {}
                for record in found:
                    seen += 1
                    error = InvalidInput("every fifth", field="rows")
                    out.append(letters.of(record, error, None) if seen % 5 == 0 else self.answered(id_of(record)))
                    offsets[Partition(*record.partition)] = record.offset + 1
                if out:
                    outlet.commit(out, offsets, intake.group())
            intake.close()
            outlet.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join(30)

    def check(self) -> None:
        """The counts of an independent reader, and the database's."""
        made, refused = (records(self.kafka.bootstrap, f"{self.model}.{name}") for name in ("predictions", "dead-letters"))
        assert ids(self.requests()) == dict.fromkeys(self.submitted, 1)
        assert ids(made) + ids(refused) == dict.fromkeys(self.submitted, 1)
        ended = self.wait_ended(self.submitted)
        for kind, state in ((made, State.SUCCEEDED), (refused, State.FAILED)):
            assert {identity for identity, one in ended.items() if one.state is state} == set(ids(kind))


class _Nobody:
    """An assignment that nobody cares about."""

    def assigned(self, partitions: Any) -> None: ...
    def revoked(self, partitions: Any) -> None: ...
    def lost(self, partitions: Any) -> None: ...


@pytest.fixture
def place(kafka: KafkaServer, postgres: PostgresServer, own_schema: str) -> Iterator[Place]:
    name = f"sink{next(_numbers)}"
    with ExitStack() as stack:
        made = Place(kafka, postgres, own_schema, f"m{name}", stack)
        made.make_topics()
        yield made

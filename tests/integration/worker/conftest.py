"""A real Kafka and a real predictor for the area; for each test a model of its own (topics, group) and workers in processes."""

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest

from penstock.dataplane import TensorMetadata
from penstock.testing.bundles import write_bundle
from penstock.testing.committed import Seen, records
from penstock.testing.flights import write_flights
from penstock.testing.kafka import KafkaServer
from penstock.testing.models import mlp
from penstock.testing.server import ServerProcess
from penstock.testing.servers import free_port
from penstock.testing.waiting import until
from penstock_transformer.broker.opening import open_admin
from penstock_transformer.broker.port import TopicState
from penstock_transformer.broker.settings import BrokerSettings

FEATURES = """
formatVersion: 1
record: {set: trips, key: trip_id}
sets: {}
features:
  - {name: a, from: request, type: float32, missing: reject, encode: passthrough}
  - {name: b, from: request, type: float32, missing: {default: 1.0}, encode: passthrough}
tensors: {x: [a, b]}
"""
FEATURES = FEATURES.replace("record: {set: trips, key: trip_id}\nsets: {}\n", "")
OUTPUTS = (TensorMetadata("y", "FP32", (-1, 1)),)
INPUTS = (TensorMetadata("x", "FP32", (-1, 2)),)
WAIT_S = 60.0
# The area passes with either client: this variable of our programs' own says which, where a test does not.
CLIENT = os.environ.get("PENSTOCK_TRANSFORMER_KAFKA_CLIENT", "kafka-python")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "1"
    write_bundle(folder, mlp((2, 4, 1)), FEATURES, inputs=INPUTS, outputs=OUTPUTS)
    return folder


def start_predictor(bundle: Path, model: str, port: int = 0, prefix: Sequence[str] = ()) -> ServerProcess:
    options = ["--model_name", model, "--model_dir", str(bundle), "--profile_s", "0", "--drain_delay_s", "0"]
    return ServerProcess("penstock_predictor", *options, *(["--http_port", str(port)] if port else []), prefix=prefix)


def start_mortal_predictor(bundle: Path, model: str) -> ServerProcess:
    options = ["--model_name", model, "--bundle", str(bundle), "--drain_delay_s", "0", "--http_port", str(free_port())]
    return ServerProcess("penstock.testing.mortal_predictor", *options)


class Bench:
    """One test's model: its topics, its predictor and the workers on it."""

    def __init__(self, kafka: KafkaServer, bundle: Path, stack: ExitStack, *, partitions: int = 3, mortal: bool = False) -> None:
        self.kafka = kafka
        self.bundle = bundle
        self.model = f"m{next(_numbers)}-{os.getpid()}"
        self.requests, self.predictions = f"{self.model}.requests", f"{self.model}.predictions"
        self.letters = f"{self.model}.dead-letters"
        self.partitions = partitions
        self.sent = 0
        self.processes: list[ServerProcess] = []
        self._stack = stack
        self.predictor = stack.enter_context(start_mortal_predictor(bundle, self.model)) if mortal else self.start_predictor()
        self.predictor_host = f"127.0.0.1:{self.predictor.port}"
        self._producer = ck.Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5})
        admin = open_admin(BrokerSettings(kafka_bootstrap=kafka.bootstrap, kafka_client="confluent"))
        for topic in (self.requests, self.predictions, self.letters):
            admin.create(TopicState(topic, partitions, 1, {"max.message.bytes": str(10 * 2**20)}))
        admin.close()

    def start_predictor(self, port: int = 0, prefix: Sequence[str] = ()) -> ServerProcess:
        """The predictor, ready."""
        return self._stack.enter_context(start_predictor(self.bundle, self.model, port, prefix))

    def worker(
        self,
        *options: str,
        instance: str = "a",
        failpoints: str = "",
        client: str = CLIENT,
        prefix: Sequence[str] = (),
        env: dict[str, str] | None = None,
    ) -> ServerProcess:
        """A worker that was started; not awaited."""
        process = ServerProcess(
            "penstock_transformer",
            *("--model_name", self.model, "--predictor_host", self.predictor_host, "--kafka_bootstrap", self.kafka.bootstrap),
            *("--kafka_instance", instance, "--kafka_client", client, "--kafka_replication", "1", "--kafka_min_insync", "1"),
            *("--kafka_timeout_s", "10", "--kafka_session_timeout_s", "3", "--kafka_transaction_timeout_s", "4"),
            *("--kafka_metadata_age_s", "1", "--predictor_poll_s", "0.2", "--drain_timeout_s", "20", *options),
            env={"PENSTOCK_FAILPOINTS": failpoints, **(env or {})},
            program=("worker",),
            prefix=prefix,
        )
        self.processes.append(process)
        self._stack.callback(process.kill)
        return process.start()

    def add_partitions(self, partitions: int) -> None:
        """Give the topics more, the requests last."""
        for topic in (self.predictions, self.letters, self.requests):
            self.kafka.console("kafka-topics", "--alter", "--topic", topic, "--partitions", str(partitions))
        self.partitions = partitions
        self._producer = ck.Producer({"bootstrap.servers": self.kafka.bootstrap})

    def send(self, count: int, *, body: Any = None, partition: int | None = None, headers: Sequence[Any] = ()) -> None:
        """So many requests, numbered by `a`; `body` in place of the row."""
        for _ in range(count):
            value = body if isinstance(body, bytes) else json.dumps(body or {"rows": [{"a": self.sent}]}).encode()
            given = [("ce_id", f"id-{self.sent}".encode()), *headers]
            where = self.sent % self.partitions if partition is None else partition
            self._producer.produce(self.requests, value, key=b"k%d" % where, partition=where, headers=given)
            self.sent += 1
            self._producer.poll(0)
        assert self._producer.flush(30) == 0

    def outputs(self) -> list[Seen]:
        """What is committed."""
        return records(self.kafka.bootstrap, self.predictions, self.letters)

    def wait_all(self, within_s: float = WAIT_S) -> list[Seen]:
        """The outputs, once there is one for all that was sent; each is there once, in order, in its own partition's number."""

        def found() -> list[Seen]:
            seen = self.outputs()
            return seen if len({position(record) for record in seen}) >= self.sent else []

        try:
            seen = until(found, within_s, f"outputs of {self.sent} requests")
        except AssertionError as error:
            logs = [line[:400] for process in self.processes for line in process.lines[-8:]]
            raise AssertionError("\n".join([f"{error}; got {len(self.outputs())}", *logs])) from None
        self.check(seen)
        return seen

    def check(self, seen: list[Seen]) -> None:
        """Nothing lost, nothing doubled, nothing out of order."""
        positions = [position(record) for record in seen]
        assert len(positions) == len(set(positions)) == self.sent
        for topic in (self.predictions, self.letters):
            for number in range(self.partitions):
                offsets = [position(r)[1] for r in seen if (r.topic, r.partition) == (topic, number)]
                assert offsets == sorted(offsets)
        assert all(position(record)[0] == record.partition for record in seen)
        letters = sum(record.topic == self.letters for record in seen)
        print(f"{self.sent} requests: {self.sent - letters} predictions, {letters} dead letters, lost 0, doubled 0")


def position(record: Seen) -> tuple[int, int]:
    """Partition and offset of the request."""
    _, number, offset = (record.header("penstock-position") or b"").decode().rsplit("/", 2)
    return int(number), int(offset)


@pytest.fixture
def bench(kafka: KafkaServer, bundle: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(kafka, bundle, stack)


@pytest.fixture
def flights_bench(kafka: KafkaServer, tmp_path: Path) -> Iterator[Bench]:
    """One whose model has stored features."""
    with ExitStack() as stack:
        yield Bench(kafka, write_flights(tmp_path / "flights"), stack)


@pytest.fixture
def mortal_bench(kafka: KafkaServer, bundle: Path) -> Iterator[Bench]:
    """One whose predictor dies of the row `a: 666`, and comes back."""
    with ExitStack() as stack:
        yield Bench(kafka, bundle, stack, mortal=True)

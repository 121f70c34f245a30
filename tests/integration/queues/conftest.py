"""A real Kafka and a real predictor for the area; for each test a model of its own, what watches it, and workers."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import confluent_kafka as ck
import httpx
import pytest

from penstock.dataplane import TensorMetadata
from penstock.testing.bundles import write_bundle
from penstock.testing.committed import records
from penstock.testing.kafka import KafkaServer
from penstock.testing.models import mlp
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until
from penstock_transformer.broker.opening import open_admin
from penstock_transformer.broker.port import TopicState
from penstock_transformer.broker.settings import BrokerSettings

FEATURES = """
formatVersion: 1
features:
  - {name: a, from: request, type: float32, missing: reject, encode: passthrough}
  - {name: b, from: request, type: float32, missing: {default: 1.0}, encode: passthrough}
tensors: {x: [a, b]}
"""
OUTPUTS = (TensorMetadata("y", "FP32", (-1, 1)),)
INPUTS = (TensorMetadata("x", "FP32", (-1, 2)),)
WAIT_S = 60.0
MODELS = 18
"""Tests of the area, at most: each has a model, and so topics, of its own."""
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("bundles")
    for number in range(1, MODELS + 1):
        write_bundle(folder / f"q{number}" / "1", mlp((2, 4, 1)), FEATURES, inputs=INPUTS, outputs=OUTPUTS)
    options = ("--model_name", "q", "--model_dir", str(folder), "--profile_s", "0", "--drain_delay_s", "0")
    with ServerProcess("penstock_predictor", *options) as server:
        yield server


class Place:
    """One test's model: its topics, the transformer that watches them, the workers on them."""

    def __init__(self, kafka: KafkaServer, predictor: str, stack: ExitStack, partitions: int = 2) -> None:
        self.kafka = kafka
        self.model = f"q{next(_numbers)}"
        self.requests, self.predictions = f"{self.model}.requests", f"{self.model}.predictions"
        self.letters = f"{self.model}.dead-letters"
        self.partitions = partitions
        self._stack = stack
        self._options = ("--model_name", self.model, "--predictor_host", predictor, "--predictor_poll_s", "0.2")
        self._kafka_options = ("--kafka_bootstrap", kafka.bootstrap, "--queues_refresh_s", "0.2")
        self._producer = ck.Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5})
        admin = open_admin(BrokerSettings(kafka_bootstrap=kafka.bootstrap, kafka_client="confluent"))
        for topic in (self.requests, self.predictions, self.letters):
            admin.create(TopicState(topic, partitions, 1, {}))
        admin.close()
        self.url = ""

    def watch(self, *options: str) -> ServerProcess:
        """A transformer that serves the monitor and the console."""
        process = ServerProcess("penstock_transformer", *self._options, *self._kafka_options, "--drain_delay_s", "0", *options)
        server = self._stack.enter_context(process)
        self.url = server.url
        return server

    def worker(self, *options: str) -> ServerProcess:
        """A worker, from its start to the test's end or its own."""
        kafka = ("--kafka_replication", "1", "--kafka_min_insync", "1", "--kafka_session_timeout_s", "3")
        process = ServerProcess(
            "penstock_transformer", *self._options, *self._kafka_options, *kafka, *options, program=("worker",)
        )
        return self._stack.enter_context(process)

    def send(self, *bodies: Any, partition: int = 0) -> None:
        """Requests, JSON but for bytes, which go as they are."""
        for body in bodies:
            value = body if isinstance(body, bytes) else json.dumps(body).encode()
            self._producer.produce(self.requests, value, key=b"k", partition=partition)
        assert self._producer.flush(30) == 0

    def get(self, path: str, **options: Any) -> Any:
        """The JSON of a GET that succeeds."""
        answer = httpx.get(f"{self.url}{path}", timeout=30, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def topic(self, role: str = "requests") -> dict[str, Any]:
        """The figures of one topic; none before they are there."""
        models = self.get("/queues")["models"]
        return next((topic for model in models for topic in model["topics"] if topic["role"] == role), {})

    def letters_figures(self) -> dict[str, Any]:
        """The figures of the dead letters."""
        models = self.get("/queues")["models"]
        return (models[0]["dead_letters"] or {}) if models else {}

    def seen(self, topic: str) -> list[Any]:
        """What an independent reader finds in a topic."""
        return records(self.kafka.bootstrap, topic)


@pytest.fixture
def place(kafka: KafkaServer, predictor: ServerProcess) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(kafka, f"127.0.0.1:{predictor.port}", stack)


@pytest.fixture
def wait() -> Callable[[Callable[[], Any], str], Any]:
    """The first true value of a condition."""
    return lambda condition, what: until(condition, WAIT_S, what)

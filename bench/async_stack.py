"""The ways in which predictions that are answered later can be set up, each as processes that run: `STACKS`.

    PostgreSQL, Kafka    transformer -> PostgreSQL -> relay -> Kafka -> worker -> predictor;  Kafka -> sink -> PostgreSQL
    PostgreSQL           transformer (predicts from the table itself) -> PostgreSQL, predictor
    SQLite               `penstock serve`: one process, a file

Our programs have the servers' core; broker, database and whoever asks the other. What PostgreSQL commits is on its disk.
"""

import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, str(Path(__file__).resolve().parent))
from rig import ENVIRONMENT, cpu_s, processes
from streaming import MODEL, PARTITIONS, bundle_in

from penstock.testing.kafka import KafkaServer
from penstock.testing.servers import PostgresServer, free_port

DRAINED_S = 300.0
_COMMON = ["--grpc_port", "-1", "--host", "127.0.0.1", "--drain_delay_s", "0", "--admin_port", "-1"]


class DurablePostgres(PostgresServer):
    """PostgreSQL as one runs it: what is committed is on the disk."""

    def command(self) -> list[str]:
        """The later of two settings counts."""
        return [*super().command(), "-c", "fsync=on"]


class Stack:
    """Programs that run, by name, and where callers reach them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pids: dict[str, int] = {}

    def cpu_s(self) -> dict[str, float]:
        """CPU of each program so far."""
        return {name: cpu_s(pid) for name, pid in self.pids.items()}

    def submitted(self) -> int:
        """How many predictions were handed in so far."""
        name = 'penstock_predictions_submitted_total{outcome="new"}'
        return next(int(float(line.rsplit(" ", 1)[1])) for line in self._get("/metrics").splitlines() if line.startswith(name))

    def drain(self) -> None:
        """Return once all that was handed in has ended. Exits if that takes too long."""
        until = time.monotonic() + DRAINED_S
        while any('"id"' in self._get(f"/predictions?limit=1&state={state}") for state in ("starting", "processing")):
            if time.monotonic() > until:
                sys.exit(f"predictions have not ended {DRAINED_S:g} s after the last was handed in")
            time.sleep(0.1)

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return str(answer.read().decode())


@contextmanager
def kafka_stack(client: str) -> Iterator[Stack]:
    """Everything, with one of Kafka's clients."""
    with _directory() as directory, KafkaServer() as kafka, _database(), ExitStack() as exits:
        make_topics(kafka.bootstrap)
        start = _Starting(exits, directory)
        broker = ["--kafka_bootstrap", kafka.bootstrap, "--kafka_client", client]
        called = start.predictor()
        start("transformer", start.stack.port, "penstock_transformer", *called, *broker)
        start("relay", free_port(), "penstock_transformer", "relay", *broker)
        start("sink", free_port(), "penstock_transformer", "sink", "--models", MODEL, *broker)
        start("worker", free_port(), "penstock_transformer", "worker", *called, *broker)
        yield start.stack


@contextmanager
def postgres_stack() -> Iterator[Stack]:
    """No broker: the table is the queue."""
    with _directory() as directory, _database(), ExitStack() as exits:
        start = _Starting(exits, directory)
        start("transformer", start.stack.port, "penstock_transformer", *start.predictor())
        yield start.stack


@contextmanager
def sqlite_stack() -> Iterator[Stack]:
    """One process and a file."""
    with _directory() as directory, ExitStack() as exits:
        start = _Starting(exits, directory)
        database = ["--database", f"sqlite:///{directory / 'predictions.db'}"]
        start("server", start.stack.port, "penstock_cli.serve", str(start.bundle), "--model_name", MODEL, *database)
        yield start.stack


STACKS: dict[str, Callable[[], AbstractContextManager[Stack]]] = {
    "PostgreSQL, Kafka (confluent)": lambda: kafka_stack("confluent"),
    "PostgreSQL, Kafka (kafka-python)": lambda: kafka_stack("kafka-python"),
    "PostgreSQL": postgres_stack,
    "SQLite": sqlite_stack,
}


class _Starting:
    """Starts programs one after the other, each once the one before is ready."""

    def __init__(self, exits: ExitStack, directory: Path) -> None:
        self.stack = Stack(free_port())
        self.bundle = bundle_in(directory)
        self._exits = exits
        self._directory = directory

    def predictor(self) -> list[str]:
        """Start it; how others are told of it."""
        port = free_port()
        self("predictor", port, "penstock_predictor", "--model_name", MODEL, "--model_dir", str(self.bundle))
        return ["--model_name", MODEL, "--predictor_host", f"127.0.0.1:{port}"]

    def __call__(self, name: str, port: int, *arguments: str) -> None:
        command = ["-m", *arguments, *_COMMON, "--http_port", str(port)]
        (self.stack.pids[name],) = self._exits.enter_context(processes([command], port, self._directory / f"{name}.log"))


def make_topics(bootstrap: str) -> None:
    """The model's topics, and the relays' marks."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    topics = [NewTopic(f"{MODEL}.{suffix}", PARTITIONS, 1) for suffix in ("requests", "predictions", "dead-letters")]
    topics.append(NewTopic("penstock.relays", 1, 1, config={"cleanup.policy": "compact"}))
    for made in admin.create_topics(topics).values():
        made.result(30)


@contextmanager
def _database() -> Iterator[None]:
    """PostgreSQL, which the programs are told of by a variable: its URL has a password."""
    with DurablePostgres() as postgres:
        ENVIRONMENT["PENSTOCK_TRANSFORMER_DATABASE"] = postgres.url()
        try:
            yield
        finally:
            del ENVIRONMENT["PENSTOCK_TRANSFORMER_DATABASE"]


@contextmanager
def _directory() -> Iterator[Path]:
    with TemporaryDirectory() as directory:
        yield Path(directory)

"""The whole of asynchronous serving as processes, each of which may die at any moment: `Cast`.

    PostgreSQL   Kafka   predictor   transformer   relay   worker (two)   sink

Every process keeps its port, its data and its identity over `kill`, as a pod of a StatefulSet does; what was killed is started
again at once, and nobody waits for it: the others have to live with that.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from penstock.dataplane import TensorMetadata
from penstock.testing import models
from penstock.testing.bundles import write_bundle
from penstock.testing.kafka import KafkaServer
from penstock.testing.servers import PostgresServer, Server, free_port

MODEL = "sums"
PARTITIONS = 4
FEATURES = """
formatVersion: 1
features:
  - {name: a, from: request, type: float32, missing: reject}
  - {name: b, from: request, type: float32, missing: {default: 0.0}}
tensors: {x: [a, b]}
"""


class Program:
    """One of our programs. `log` keeps what all its lives wrote."""

    def __init__(self, log: Path, environment: dict[str, str], *arguments: str) -> None:
        self.log = log
        self._environment = environment
        self._command = [sys.executable, "-m", *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, whatever it died of."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections, its locks and its open transaction, and does nothing with them."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT; it goes on as if no time had passed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def give_up(self) -> subprocess.Popen[bytes]:
        """Its process, which lives on but is no more this program's: the next `start` is its successor's."""
        assert self._process is not None
        process, self._process = self._process, None
        return process

    def end(self, within_s: float = 40.0) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class Cast:
    """Everybody. `targets` are those that may be killed, by name; `environment` is our programs'."""

    def __init__(self, directory: Path, *, client: str = "kafka-python", environment: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._client = client
        self._environment = environment or {}
        self._exits = ExitStack()
        self.kafka = KafkaServer()
        self.postgres = PostgresServer()
        self.http_port = free_port()
        self.targets: dict[str, Program | Server] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            for server in (self.kafka, self.postgres):
                exits.callback(server.close)
                server.start()
            self.targets = {**self._programs(), "broker": self.kafka, "database": self.postgres}
            for program in self.programs:
                exits.callback(program.kill)
                program.start()
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    @property
    def programs(self) -> list[Program]:
        return [target for target in self.targets.values() if isinstance(target, Program)]

    def _programs(self) -> dict[str, Program]:
        bundle = self._directory / "bundle"
        inputs, outputs = (TensorMetadata("x", "FP32", (-1, 2)),), (TensorMetadata("y", "FP32", (-1, 1)),)
        write_bundle(bundle, models.mlp((2, 4, 1), seed=1), FEATURES, inputs=inputs, outputs=outputs)
        predictor = free_port()
        port = "--http_port", "0", "--admin_port", "-1", "--grpc_port", "-1", "--host", "127.0.0.1", "--drain_delay_s", "0"
        kafka = "--kafka_bootstrap", self.kafka.bootstrap, "--kafka_client", self._client
        called = "--model_name", MODEL, "--predictor_host", f"127.0.0.1:{predictor}"
        ours = "penstock_transformer"
        arguments = {
            "predictor": (
                "penstock_predictor",
                "--model_name",
                MODEL,
                "--model_dir",
                str(bundle),
                *port,
                "--http_port",
                str(predictor),
            ),
            "transformer": (ours, *called, *kafka, *port, "--http_port", str(self.http_port)),
            "relay": (ours, "relay", *kafka, *port),
            "sink": (ours, "sink", "--models", MODEL, *kafka, *port),
            "worker-0": (ours, "worker", *called, *kafka, *port, "--kafka_instance", "worker-0"),
            "worker-1": (ours, "worker", *called, *kafka, *port, "--kafka_instance", "worker-1"),
        }
        environment = {**os.environ, "PENSTOCK_TRANSFORMER_DATABASE": self.postgres.url(), **self._environment}
        return {name: Program(self._directory / f"{name}.log", environment, *given) for name, given in arguments.items()}

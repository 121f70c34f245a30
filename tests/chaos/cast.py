"""The whole of asynchronous serving as processes, each of which may die at any moment: `Cast`.

    PostgreSQL   Kafka   predictor   transformer   relay   worker (two)   sink

Every process keeps its port, its data and its identity over `kill`, as a pod of a StatefulSet does; what was killed is started
again at once, and nobody waits for it: the others have to live with that. A program that ends by itself is started again at once
as well, as a kubelet would, whatever else goes on.
"""

import os
import signal
import subprocess
import sys
import threading
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
# Who has ended by itself is noticed within this.
_LOOK_S = 0.2
FEATURES = """
formatVersion: 1
features:
  - {name: a, from: request, type: float32, missing: reject}
  - {name: b, from: request, type: float32, missing: {default: 0.0}}
tensors: {x: [a, b]}
"""


class Program:
    """One of our programs. `log` keeps what all its lives wrote, `ends` how often it ended by itself."""

    def __init__(self, log: Path, environment: dict[str, str], *arguments: str) -> None:
        self.log = log
        self._environment = environment
        self._command = [sys.executable, "-m", *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self.ends = 0
        # Whoever kills it and whoever looks after it are different threads.
        self._lock = threading.RLock()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, whatever it died of, unless it runs."""
        with self._lock, self.log.open("ab") as log:
            if self.running:
                return
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )

    def look_after(self) -> None:
        """Start it again if it has ended by itself."""
        with self._lock:
            if self._process is not None and not self.running:
                self.ends += 1
                self.start()

    def kill(self) -> None:
        """SIGKILL; it is not looked after until it is started again."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

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
        with self._lock:
            assert self._process is not None
            process, self._process = self._process, None
        return process


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
        self._leaving = threading.Event()
        self._keeper = threading.Thread(target=self._look_after, name="keeper", daemon=True)

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
            self._keeper.start()
            exits.callback(self._keeper.join)
            exits.callback(self._leaving.set)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _look_after(self) -> None:
        while not self._leaving.wait(_LOOK_S):
            for program in self.programs:
                program.look_after()

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

"""Records through the worker, exactly once, beside MLServer's Kafka path and a plain loop of one record at a time.

    python bench/streaming.py [--seconds 5] [--rounds 1] [--only "MLServer"] [--json]

    producer --records--> requests --> contender (32-64-64-1 MLP of request features, or of tensors) --> predictions --> reader

The contender has the servers' core, broker, producer and reader share the other. CPU a record is what the kernel counted for the
contender's process; `records/s per core` is its inverse: what a core of that process's CPU carries. The producer begins when the
contender is there, and keeps records waiting all the time: `AHEAD` that the reader has not seen answered, for the slow ones a
share of that. Counted is what the reader (`read_committed`) sees within the seconds. The worker's predictor is a process of its
own on the same core, counted beside it. MLServer and the loop write at least once, without a transaction.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from penstock.dataplane import TensorMetadata
from penstock.testing import models
from penstock.testing.bundles import write_bundle
from penstock.testing.kafka import KafkaServer
from penstock.testing.servers import free_port

sys.path.insert(0, str(Path(__file__).resolve().parent))
from command_line import command_line, parsed, show
from peer_table import CACHE, PEERS, Start
from rig import ENVIRONMENT, LOAD_CPU, SERVER_CPU, cpu_s, medians, processes, resident_mib

HERE = Path(__file__).resolve().parent
MODEL, WIDTH, PARTITIONS, QUIET_S = "bench", 32, 4, 60.0
AHEAD = 20_000
# Not counted: the pipe fills, caches and the broker's compiler warm up.
SETTLING_S = 1.5
FEATURES = "formatVersion: 1\nfeatures:\n" + "".join(
    f"  - {{name: f{at}, from: request, type: float32, missing: reject}}\n" for at in range(WIDTH)
)
FEATURES += f"tensors: {{x: [{', '.join(f'f{at}' for at in range(WIDTH))}]}}\n"
ROW = np.random.default_rng(0).normal(size=WIDTH).round(3).tolist()
ROWS_VALUE = json.dumps({"rows": [dict(zip((f"f{at}" for at in range(WIDTH)), ROW, strict=True))]}).encode()
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": ROW}
TENSORS_VALUE = json.dumps({"inputs": [TENSOR]}).encode()
ENCODED_VALUE = json.dumps({"inputs": [TENSOR], "parameters": {"encoded": True}}).encode()


class Contender:
    """Somebody who answers records: its value's bytes, its headers, and how it is started; `start` yields its process ids, the
    first of which is what is measured. `share` of AHEAD wait for it."""

    def __init__(
        self, value: bytes, start: "Callable[[Bed], Any]", headers: Sequence[tuple[str, bytes]] = (), share: float = 1.0
    ) -> None:
        self.value = value
        self.headers = list(headers)
        self.start = start
        self.share = share


class Bed:
    """The broker with its topics, and where a contender finds things."""

    def __init__(self, kafka: KafkaServer, directory: Path) -> None:
        self.kafka = kafka
        self.directory = directory
        self.bundle = bundle_in(directory)

    def make_topics(self) -> None:
        """The three topics."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        names = [f"{MODEL}.{suffix}" for suffix in ("requests", "predictions", "dead-letters")]
        for made in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
            made.result(30)


def bundle_in(directory: Path) -> Path:
    """A bundle of the small MLP, whose features come with the request."""
    bundle = directory / "bundle"
    inputs, outputs = (TensorMetadata("x", "FP32", (-1, WIDTH)),), (TensorMetadata("y", "FP32", (-1, 1)),)
    write_bundle(bundle, models.mlp(), FEATURES, inputs=inputs, outputs=outputs, name=MODEL)
    return bundle


@contextmanager
def worker(bed: Bed, client: str, *options: str, port: int = 0) -> Iterator[list[int]]:
    """The worker, whose health and metrics are at `port`, and its predictor."""
    common = ["--admin_port", "-1", "--grpc_port", "-1", "--host", "127.0.0.1", "--drain_delay_s", "0"]
    predictor, port = free_port(), port or free_port()
    log = bed.directory / "worker.log"
    serving = [
        "-m",
        "penstock_predictor",
        "--model_name",
        MODEL,
        "--model_dir",
        str(bed.bundle),
        "--http_port",
        str(predictor),
        *common,
    ]
    working = ["-m", "penstock_transformer", "worker", "--model_name", MODEL, "--predictor_host", f"127.0.0.1:{predictor}"]
    working += ["--kafka_bootstrap", bed.kafka.bootstrap, "--kafka_client", client, "--http_port", str(port), *common, *options]
    with processes([serving], predictor, log) as served, processes([working], port, log) as worked:
        yield [*worked, *served]


@contextmanager
def mlserver(bed: Bed) -> Iterator[list[int]]:
    """MLServer with its Kafka server on the same topics."""
    peer = PEERS["MLServer"]
    directory = bed.directory / "mlserver"
    directory.mkdir(exist_ok=True)
    python = CACHE / "mlserver-1.7.1" / "bin" / "python"
    if not python.exists():
        sys.exit("MLServer is not installed yet: python bench/peers.py --only MLServer")
    model = directory / "model.onnx"
    model.write_bytes(models.mlp())
    port = free_port()
    command = peer.command(Start(python, model, port, free_port(), directory))
    settings_file = directory / "settings.json"
    settings = json.loads(settings_file.read_text())
    settings |= {
        "kafka_enabled": True,
        "kafka_servers": bed.kafka.bootstrap,
        "kafka_topic_input": f"{MODEL}.requests",
        "kafka_topic_output": f"{MODEL}.predictions",
    }
    settings_file.write_text(json.dumps(settings))
    environment = {**ENVIRONMENT, "BENCH_MODEL": str(model), "PYTHONPATH": str(HERE / "peer_servers")}
    with (bed.directory / "mlserver.log").open("ab") as log:
        process = subprocess.Popen(["taskset", "-c", SERVER_CPU, *command], stdout=log, stderr=log, env=environment)
    try:
        # It says that it is ready before its consumer is: a canary record tells, as it begins at the topic's end.
        yield [process.pid]
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def plain_loop(bed: Bed) -> Iterator[list[int]]:
    """What one writes in an afternoon: poll a record, run the model, produce, flush, commit."""
    with processes_without_port(
        [str(HERE / "streaming_loop.py"), bed.kafka.bootstrap, MODEL, str(bed.bundle / "model.onnx")]
    ) as pids:
        yield pids


@contextmanager
def processes_without_port(command: Sequence[str]) -> Iterator[list[int]]:
    """A Python program on the servers' core, which nobody has to wait for."""
    process = subprocess.Popen(["taskset", "-c", SERVER_CPU, sys.executable, *command], env=ENVIRONMENT)
    try:
        yield [process.pid]
    finally:
        process.terminate()
        process.wait(30)


CONTENDERS: dict[str, Contender] = {
    "Penstock with kafka-python": Contender(ROWS_VALUE, lambda bed: worker(bed, "kafka-python")),
    "Penstock with confluent": Contender(ROWS_VALUE, lambda bed: worker(bed, "confluent")),
    "Penstock with confluent: tensors": Contender(ENCODED_VALUE, lambda bed: worker(bed, "confluent")),
    "Penstock with confluent: at least once": Contender(
        ROWS_VALUE, lambda bed: worker(bed, "confluent", "--delivery", "at-least-once")
    ),
    "plain loop of one at a time": Contender(TENSORS_VALUE, plain_loop, share=0.05),
    "MLServer": Contender(TENSORS_VALUE, mlserver, [("mlserver-model", MODEL.encode())], share=0.05),
}


class Reader:
    """Counts what is committed in the predictions and dead letters."""

    def __init__(self, bed: Bed) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": bed.kafka.bootstrap, "group.id": "bench", "isolation.level": "read_committed", "log_level": 0}
        )
        topics = [f"{MODEL}.predictions", f"{MODEL}.dead-letters"]
        self._consumer.assign([TopicPartition(topic, number, 0) for topic in topics for number in range(PARTITIONS)])

    def close(self) -> None:
        self._consumer.close()

    def read(self) -> int:
        """How many more have come, waiting a moment for them. Exits if one is a dead letter."""
        records = self._consumer.consume(1000, 0.1)
        for record in records:
            if record.topic() == f"{MODEL}.dead-letters":
                sys.exit(f"a dead letter: {dict(record.headers() or [])}")
        return len(records)


def measure(rounds: int, seconds: float, names: Sequence[str]) -> dict[str, Any]:
    """Every contender in turn, each round."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    # What is started from here on inherits it: broker, producer and reader share the load's core.
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    for _ in range(rounds):
        for name in names:
            contender = CONTENDERS[name]
            # A broker each: offsets of a topic that was deleted and made again outlive it for a while.
            with tempfile.TemporaryDirectory() as directory, KafkaServer() as kafka:
                bed = Bed(kafka, Path(directory))
                bed.make_topics()
                with contender.start(bed) as pids:
                    samples[name].append(once(bed, contender, pids, seconds))
                print(f"{name}: {samples[name][-1]}", file=sys.stderr, flush=True)
    rows = [{"contender": name} | medians(found) for name, found in samples.items()]
    return {"bench": "streaming", "rows": rows}


def once(bed: Bed, contender: Contender, pids: Sequence[int], seconds: float) -> dict[str, float]:
    """One run: records/s by the clock, CPU us a record of the measured process and of those beside it, resident MiB."""
    flood = Flood(bed, contender)
    try:
        warm_up(flood.producer, flood.reader, contender)
        flood.go(SETTLING_S)
        before = [cpu_s(pid) for pid in pids]
        records, took = flood.go(seconds)
        used = [cpu_s(pid) - was for pid, was in zip(pids, before, strict=True)]
    finally:
        flood.reader.close()
    return {
        "records": records,
        "records_per_s": records / took,
        "cpu_us": used[0] / records * 1e6,
        "beside_us": sum(used[1:]) / records * 1e6,
        "per_core": records / used[0],
        "resident_mib": resident_mib(pids[0]),
    }


class Flood:
    """Records that wait for a contender all the time."""

    def __init__(self, bed: Bed, contender: Contender) -> None:
        self.producer = Producer(
            {"bootstrap.servers": bed.kafka.bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 2_000_000, "log_level": 0}
        )
        self.reader = Reader(bed)
        self._contender = contender
        self._ahead = int(AHEAD * contender.share)
        self._waiting = 0

    def go(self, seconds: float) -> tuple[int, float]:
        """So long, and until at least one was seen: how many were, and the seconds. Exits if none comes for QUIET_S."""
        seen = 0
        began = heard = time.monotonic()
        while True:
            if missing := self._ahead - self._waiting:
                send(self.producer, self._contender, missing)
                self._waiting += missing
            found = self.reader.read()
            now = time.monotonic()
            seen += found
            self._waiting -= found
            if found:
                heard = now
            elif now - heard > QUIET_S:
                sys.exit(f"no prediction came within {QUIET_S:g} s")
            if seen and now - began >= seconds:
                return seen, now - began


def warm_up(producer: Producer, reader: Reader, contender: Contender) -> None:
    """Return when the contender answers. It may begin at the topic's end, so records are sent until one comes back."""
    until = time.monotonic() + QUIET_S
    while time.monotonic() < until:
        send(producer, contender, 1)
        producer.flush(60)
        if reader._consumer.consume(1, 1.0):
            return
    sys.exit("the contender answers nothing")


def send(producer: Producer, contender: Contender, records: int) -> None:
    """Produce so many records, spread over the partitions."""
    for number in range(records):
        producer.produce(f"{MODEL}.requests", contender.value, headers=contender.headers, partition=number % PARTITIONS)
        if number % 1000 == 0:
            producer.poll(0)
    producer.poll(0)


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    found = {row["contender"]: row for row in result["rows"]}
    slow = "MLServer" if "MLServer" in found else next(reversed(found))
    yield f"{WIDTH} features a record, {PARTITIONS} partitions, {AHEAD:,} records waiting all the time (the slow: a twentieth)."
    yield ""
    yield f"| | records | records/s | CPU us a record | per core of its CPU | predictor beside it, us | times {slow} | MiB |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, row in found.items():
        times = row["per_core"] / found[slow]["per_core"]
        yield (
            f"| {name} | {row['records']:,.0f} | {row['records_per_s']:,.0f} | {row['cpu_us']:.1f} | {row['per_core']:,.0f} "
            f"| {row['beside_us']:.1f} | {times:.1f} | {row['resident_mib']:.0f} |"
        )


def main() -> None:
    parser = command_line(__doc__, rounds=1, seconds=5.0, seconds_help="of each contender, after a warm-up")
    parser.add_argument("--only", default=",".join(CONTENDERS), help="names, comma-separated")
    given = parsed(parser)
    names = given.only.split(",")
    result = measure(given.rounds, given.seconds, names)
    show(given, result, table)


if __name__ == "__main__":
    main()

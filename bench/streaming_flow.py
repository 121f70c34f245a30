"""Records through the worker from outside, paced by the clock or as fast as they go: what the benchmarks of Kafka have in common.

    Flow.paced: open loop --record, due at t--> requests -> worker -> predictions --read_committed reader--> seen at t'
    Flow.flood: as fast as the reader follows, never more than `AHEAD` records before it

A record's time runs from the moment that it was due, so that a producer that is late counts as the worker's. It is told by the
id that the prediction carries; `made` is the prediction's own `ce_time`.
"""

import os
import random
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition

sys.path.insert(0, str(Path(__file__).resolve().parent))
from rig import LOAD_CPU, cpu_s, resident_mib
from streaming import MODEL, PARTITIONS, ROWS_VALUE, Bed, worker

from penstock.testing.kafka import KafkaServer
from penstock.testing.servers import free_port

AHEAD = 20_000
PATIENCE_S = 60.0
REQUESTS, PREDICTIONS, DEAD_LETTERS = (f"{MODEL}.{suffix}" for suffix in ("requests", "predictions", "dead-letters"))
# What came due before this is not counted: the first records meet imports, cold caches and a broker that still compiles.
SETTLING_S = 6.0


class Seen(NamedTuple):
    """One record's moments, in s of the Unix epoch."""

    due: float
    made: float
    seen: float


class Working:
    """A worker that runs: its process, its predictor's, and what it counts."""

    def __init__(self, pids: Sequence[int], port: int) -> None:
        self.pid, self.predictor = pids
        self._metrics = f"http://127.0.0.1:{port}/metrics"

    def cpu_s(self) -> float:
        """CPU of the worker's process so far."""
        return cpu_s(self.pid)

    def mib(self) -> float:
        """What the worker has resident."""
        return resident_mib(self.pid)

    def counted(self, name: str) -> float:
        """One of its metrics, `penstock_worker_<name>`."""
        with urllib.request.urlopen(self._metrics) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"penstock_worker_{name}") and line[len(f"penstock_worker_{name}")] in " {":
                    return float(line.rsplit(" ", 1)[1])
        sys.exit(f"the worker has no metric penstock_worker_{name}")


@contextmanager
def working(client: str, *options: str) -> Iterator[tuple[Working, "Flow"]]:
    """A broker, a worker with its predictor, and a flow through it that has been answered once."""
    # What is started from here on inherits it: broker, producer and reader share the load's core.
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    # A broker each: offsets of a topic that was deleted and made again outlive it for a while.
    with TemporaryDirectory() as directory, KafkaServer() as kafka:
        bed = Bed(kafka, Path(directory))
        bed.make_topics()
        port = free_port()
        with worker(bed, client, *options, port=port) as pids, Flow(kafka.bootstrap) as flow:
            flow.flood(100)
            yield Working(pids, port), flow


class Flow:
    """A producer, and a reader of what is committed from here on."""

    def __init__(self, bootstrap: str, value: bytes = ROWS_VALUE) -> None:
        self._value = value
        self._producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 2_000_000, "log_level": 0})
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "bench", "isolation.level": "read_committed", "log_level": 0}
        )
        places = [TopicPartition(topic, number) for topic in (PREDICTIONS, DEAD_LETTERS) for number in range(PARTITIONS)]
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=30)[1]
        self._consumer.assign(places)

    def __enter__(self) -> "Flow":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def paced(self, rate: float, seconds: float, seed: int = 1) -> tuple[list[Seen], int]:
        """Records that came due at `rate` a second, with exponential gaps, in the order they were due, once all were seen: those
        after the first moments, and how many there were with these."""
        due = list(_arrivals(rate, SETTLING_S + seconds, seed))
        began = time.time() + 0.1
        producing = threading.Thread(target=self._produce, args=([began + at for at in due],), daemon=True)
        producing.start()
        found: list[Seen | None] = [None] * len(due)
        missing = len(due)
        until = began + SETTLING_S + seconds + PATIENCE_S
        while missing:
            records = self._read()
            now = time.time()
            for record in records:
                headers = dict(record.headers())
                number = int(headers["ce_id"])
                missing -= found[number] is None
                found[number] = Seen(began + due[number], _moment(headers["ce_time"]), now)
            if now > until:
                sys.exit(f"{missing} of {len(due)} predictions did not come")
        producing.join()
        return [one for one in found if one is not None and one.due >= began + SETTLING_S], len(due)

    def flood(self, records: int, at: Callable[[int], None] = lambda _: None) -> float:
        """Send so many and read their predictions; seconds from first to last. `at` is told now and then how many came."""
        sent = seen = 0
        began = heard = time.monotonic()
        while seen < records:
            while sent < records and sent - seen < AHEAD:
                for number in range(sent, min(sent + 500, records)):
                    self._producer.produce(REQUESTS, self._value, partition=number % PARTITIONS)
                sent = min(sent + 500, records)
                self._producer.poll(0)
            found = len(self._read())
            seen += found
            if found:
                heard = time.monotonic()
                at(seen)
            elif time.monotonic() - heard > PATIENCE_S:
                sys.exit(f"{records - seen} of {records} predictions did not come")
        return time.monotonic() - began

    def _produce(self, due: Sequence[float]) -> None:
        for number, at in enumerate(due):
            left = at - time.time()
            if left > 0:
                time.sleep(left)
            self._producer.produce(REQUESTS, self._value, headers=[("ce_id", b"%d" % number)], partition=number % PARTITIONS)
            self._producer.poll(0)
        self._producer.flush(PATIENCE_S)

    def _read(self) -> list[Any]:
        # Asked for many at once it would wait until it has them all.
        records = self._consumer.consume(1, 0.1)
        if records:
            records += self._consumer.consume(5000, 0)
        for record in records:
            if record.error() is not None:
                sys.exit(f"reading: {record.error()}")
            if record.topic() == DEAD_LETTERS:
                sys.exit(f"a dead letter: {dict(record.headers() or [])}")
        return records


def _arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    draw = random.Random(seed).expovariate
    at = draw(rate)
    while at < seconds:
        yield at
        at += draw(rate)


def _moment(text: bytes) -> float:
    return datetime.fromisoformat(text.decode()).timestamp()


def quantile_ms(times_s: Sequence[float], share: float) -> float:
    """A quantile of times, in ms."""
    found = sorted(times_s)
    return round(found[min(len(found) - 1, int(share * len(found)))] * 1e3, 1)

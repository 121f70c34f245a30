"""The worker's metric families, made from what the machine holds and has counted when they are scraped.

Machine (tally, queues), WorkerShell (commit seconds) --families--> Metrics.add_source
"""

import time
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from penstock.errors import ErrorKind
from penstock.metrics import labelled
from penstock_transformer.worker.committing import OutletState
from penstock_transformer.worker.dead_letters import CRASHED
from penstock_transformer.worker.events import Failure
from penstock_transformer.worker.shell import WorkerShell

# Reasons that are shown from the start: a counter that appears with its first event shows no increase.
_WATCHED = {ErrorKind.INTERNAL.value: 0, CRASHED: 0}


class WorkerMetrics:
    """`shell` is set once there is one; before, there is nothing to show. `labels`: what every family carries."""

    def __init__(self, **labels: str) -> None:
        self.shell: WorkerShell | None = None
        self._labels = labels

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        if self.shell is None:
            return
        commits = HistogramMetricFamily("penstock_worker_commit_seconds", "Time from a transaction's begin to its end.")
        commits.add_metric((), self.shell.commits.buckets(), self.shell.commits.sum)
        yield from labelled((*_counters(self.shell), *_gauges(self.shell), commits), **self._labels)


def _counters(shell: WorkerShell) -> Iterable[Metric]:
    tally = shell.machine.tally
    for name, text, value in (
        ("records", "Records that were read.", tally.records),
        ("predictions", "Predictions that were committed.", tally.predictions),
        ("dropped", "Records given up uncommitted because their partition went to another worker.", tally.dropped),
        ("retries", "Tries of a record that found predictor or store away.", tally.retries),
        ("transactions", "Transactions that were committed.", tally.transactions),
        ("rebalances", "Changes of the partitions that this worker reads.", tally.rebalances),
    ):
        yield _one(CounterMetricFamily(f"penstock_worker_{name}", text), value)
    letters = CounterMetricFamily(
        "penstock_worker_dead_letters", "Dead letters that were committed, by reason.", labels=("reason",)
    )
    for reason, count in {**_WATCHED, **tally.letters}.items():
        letters.add_metric((reason,), count)
    yield letters
    aborts = CounterMetricFamily("penstock_worker_aborts", "Transactions that failed, by how.", labels=("failure",))
    for failure in Failure:
        aborts.add_metric((failure.value,), tally.aborts[failure.value])
    yield aborts


def _gauges(shell: WorkerShell) -> Iterable[Metric]:
    machine = shell.machine
    queues = list(machine.queues.values())
    oldest = min((record.timestamp_ms for queue in queues if (record := queue.oldest) is not None), default=None)
    waiting_s = 0.0 if oldest is None else max(0.0, time.time() - oldest / 1e3)
    for name, text, value in (
        ("partitions", "Partitions that this worker reads.", len(queues)),
        ("paused_partitions", "Partitions of these that are not read at present.", sum(queue.paused for queue in queues)),
        ("held_records", "Records that were read and are not committed.", sum(map(len, queues))),
        ("held_bytes", "Their bytes.", sum(queue.nbytes for queue in queues)),
        ("predicting_records", "Records that are in the pipeline.", len(machine.flying)),
        ("retrying_records", "Records that wait for another try.", len(machine.retries)),
        ("isolating", "Whether records that ended the predictor are being tried alone.", machine.isolation.active),
        ("broken", "Whether commits fail at present.", machine.committing.tries > 0),
        ("stopped", "Whether it has stopped for good.", machine.committing.state is OutletState.OVER),
        ("oldest_seconds", "Age of the oldest record that was read and is not committed.", waiting_s),
    ):
        yield _one(GaugeMetricFamily(f"penstock_worker_{name}", text), value)


def _one(family: "CounterMetricFamily | GaugeMetricFamily", value: float) -> Metric:
    family.add_metric((), value)
    return family

"""The monitor's metric families, made from its newest figures when they are scraped.

Labels are models, topics and partitions that exist, and reasons of which there is a bounded number (`queues.counts`).
"""

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from penstock_transformer.queues.figures import UP, Queues
from penstock_transformer.queues.lag import PartitionFigures, TopicFigures
from penstock_transformer.queues.looking import ModelFigures
from penstock_transformer.queues.monitor import QueueMonitor

MOST_PARTITIONS = 1000
"""Of one topic, by number; the figures of the whole topic hold the others too."""

_PLACE = ("model", "topic", "partition")
_PARTITION_GAUGES = (
    ("lag_records", "Records that the group has not read; ends of transactions may count too."),
    ("lag_s", "Age of the oldest record that the group has not read."),
    ("end", "The topic's end: what a read_committed reader can reach. Its rate is what comes in."),
    ("committed", "The group's committed offset. Its rate is what goes out."),
)
_NAMES = {"lag_records": "lag_records", "lag_s": "lag_seconds", "end": "end_offset", "committed": "committed_offset"}


class QueueMetrics:
    """`families` is for `Metrics.add_source`."""

    def __init__(self, monitor: QueueMonitor) -> None:
        self._monitor = monitor

    def families(self) -> Iterable[Metric]:
        """What is known at present."""
        queues = self._monitor.queues()
        yield from _of_broker(queues)
        for name, text in _PARTITION_GAUGES:
            family = GaugeMetricFamily(f"penstock_queue_{_NAMES[name]}", text, labels=_PLACE)
            for model, topic, partition in _partitions(queues.models):
                value = getattr(partition, name)
                if value is not None:
                    family.add_metric((model, topic.topic, str(partition.partition)), value)
            yield family
        yield from _of_letters(queues.models)
        yield from _of_database(queues)


def _partitions(models: list[ModelFigures]) -> Iterator[tuple[str, TopicFigures, PartitionFigures]]:
    for model in models:
        for topic in model.topics:
            for partition in topic.partitions[:MOST_PARTITIONS]:
                yield model.model, topic, partition


def _of_broker(queues: Queues) -> Iterator[Metric]:
    if queues.broker is None:
        return
    up = GaugeMetricFamily("penstock_queue_broker_up", "Whether the broker answered when it was last asked.")
    up.add_metric((), queues.broker.state == UP)
    yield up
    if queues.broker.figures_age_s is not None:
        age = GaugeMetricFamily("penstock_queue_figures_age_seconds", "Age of the figures of the queues.")
        age.add_metric((), queues.broker.figures_age_s)
        yield age


def _of_letters(models: list[ModelFigures]) -> Iterator[Metric]:
    reasons = GaugeMetricFamily(
        "penstock_queue_dead_letters", "Dead letters in the topic, by reason.", labels=("model", "reason")
    )
    waiting = GaugeMetricFamily("penstock_queue_dead_letters_waiting", "Dead letters nobody has seen to.", labels=("model",))
    for model in models:
        if model.dead_letters is not None:
            waiting.add_metric((model.model,), model.dead_letters.waiting)
            for reason, count in model.dead_letters.reasons.items():
                reasons.add_metric((model.model, reason), count)
    yield reasons
    yield waiting


def _of_database(queues: Queues) -> Iterator[Metric]:
    if queues.database is None:
        return
    states = GaugeMetricFamily("penstock_queue_predictions", "Predictions in the database that have not ended.",
                               labels=("model", "state"))  # fmt: skip
    oldest = GaugeMetricFamily("penstock_queue_predictions_oldest_seconds", "Age of the oldest of them.", labels=("model",))
    for backlog in queues.database:
        states.add_metric((backlog.model, "waiting"), backlog.waiting)
        states.add_metric((backlog.model, "processing"), backlog.processing)
        if backlog.oldest_s is not None:
            oldest.add_metric((backlog.model,), backlog.oldest_s)
    yield states
    yield oldest

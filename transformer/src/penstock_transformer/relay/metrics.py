"""What the relay tells Prometheus."""

import time
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock_transformer.relay.machine import RelayMachine
from penstock_transformer.relay.port import Waiting


class RelayMetrics:
    """Families of one relay. `waiting` is what was last seen in the database; it is everybody's, not this relay's alone."""

    def __init__(self, machine: RelayMachine) -> None:
        self._machine = machine
        self.waiting = Waiting(0, None)

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        machine, waiting = self._machine, self.waiting
        oldest_s = 0.0 if waiting.oldest_s is None else max(0.0, time.time() - waiting.oldest_s)
        yield GaugeMetricFamily("penstock_relay_waiting", "Predictions not published yet.", waiting.intents)
        yield GaugeMetricFamily("penstock_relay_oldest_seconds", "Age of the oldest of them.", oldest_s)
        yield CounterMetricFamily("penstock_relay_batches", "Batches published.", machine.batches)
        yield CounterMetricFamily("penstock_relay_published", "Predictions published.", machine.published)
        yield CounterMetricFamily("penstock_relay_takeovers", "Batches found unfinished at a slot.", machine.takeovers)
        yield CounterMetricFamily("penstock_relay_faults", "Effects that did not come to a good end.", machine.faults)

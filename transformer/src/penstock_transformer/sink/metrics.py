"""What the sink tells Prometheus."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock_transformer.sink.machine import SinkMachine

_TEXT = "Records dealt with: they ended a prediction, told what was known, are of no prediction here, cannot be read or written."


class SinkMetrics:
    """Families of one sink."""

    def __init__(self, machine: SinkMachine) -> None:
        self._machine = machine

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        machine = self._machine
        records = CounterMetricFamily("penstock_sink_records", _TEXT, labels=("outcome",))
        for outcome in ("ended", "repeated", "unknown", "unreadable", "refused"):
            records.add_metric((outcome,), getattr(machine, outcome))
        yield records
        yield GaugeMetricFamily("penstock_sink_held", "Records read and not written yet.", machine.held)
        yield CounterMetricFamily("penstock_sink_faults", "Writes and commits that failed and are tried again.", machine.faults)

"""The operator's metrics: plain numbers, turned into Prometheus families when they are scraped."""

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from penstock.metrics import Histogram
from penstock_operator.cluster import Object

_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counters:
    """What the loop counts."""

    def __init__(self) -> None:
        self.operations = 0
        self.failures = 0
        self.refused = 0
        self.turns = 0
        self.durations = Histogram(_BOUNDS_S)

    def turn(self, duration_s: float) -> None:
        self.turns += 1
        self.durations.observe(duration_s)


class OperatorCollector:
    """A prometheus_client collector of all that the operator knows about itself and its ModelVersions."""

    def __init__(
        self, counters: Counters, versions: Callable[[], list[Object]], waiting: Callable[[], int], leads: Callable[[], bool]
    ) -> None:
        self._counters = counters
        self._versions = versions
        self._waiting = waiting
        self._leads = leads

    def collect(self) -> Iterable[Metric]:
        counters = self._counters
        yield GaugeMetricFamily("penstock_operator_leader", "1 while this operator holds the lease.", value=int(self._leads()))
        yield GaugeMetricFamily("penstock_operator_models_waiting", "Models to be looked at now.", value=self._waiting())
        yield CounterMetricFamily("penstock_operator_calls", "Calls that changed something.", value=counters.operations)
        yield CounterMetricFamily("penstock_operator_failures", "Looks at a model that failed.", value=counters.failures)
        yield CounterMetricFamily(
            "penstock_operator_refused", "InferenceServices and Jobs that the API server did not take.", value=counters.refused
        )
        yield HistogramMetricFamily(
            "penstock_operator_turn_duration_seconds", "Time of a look at a model, and of what followed from it.",
            buckets=counters.durations.buckets(), sum_value=counters.durations.sum,
        )  # fmt: skip
        yield from self._of_versions()

    def _of_versions(self) -> Iterable[Metric]:
        labels = ("namespace", "model", "version")
        phases = GaugeMetricFamily("penstock_model_version_phase", "1 for the phase that it is in.", labels=(*labels, "phase"))
        weights = GaugeMetricFamily("penstock_model_version_weight", "Per cent of requests.", labels=labels)
        conditions = GaugeMetricFamily(
            "penstock_model_version_condition",
            "1 for a condition that holds, 0 for one that does not.",
            labels=(*labels, "condition"),
        )
        for document in self._versions():
            metadata, status = document["metadata"], document.get("status") or {}
            key = (metadata.get("namespace", ""), str((document.get("spec") or {}).get("inferenceService", "")), metadata["name"])
            phases.add_metric((*key, str(status.get("phase", "Pending"))), 1)
            weights.add_metric(key, float(status.get("weight", 0)))
            for condition in status.get("conditions") or []:
                found: Any = condition.get("status")
                conditions.add_metric((*key, str(condition.get("type"))), int(found == "True"))
        return phases, weights, conditions

"""What the transformer counts beside requests and batches: plain integers, turned into metric families when scraped."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from penstock.errors import ErrorKind
from penstock.metrics import LATENCY_BOUNDS_S, Histogram
from penstock_transformer.store_counters import StoreCounters

_TEXTS = {
    "store_errors": "Batches whose feature store read failed.",
    "degraded": "Requests answered with defaults because the feature store was away.",
    "refused_calls": "Predictor calls refused because the predictor holds another bundle.",
    "moved_requests": "Requests sent on to another bundle of the route, because theirs had no pod.",
    "split_batches": "Batches run again request by request, because one of them may have been at fault.",
    "route_rejected": "Route files that were refused; the route before stayed.",
    "route_failed": "Attempts to apply a route whose bundles could not be fetched.",
    "shadow_copies": "Copies of requests sent to shadow bundles.",
    "shadow_dropped": "Copies of requests not sent because the shadow's queue was full.",
    "shadow_errors": "Copies of requests that failed at a shadow bundle.",
}


class Counters:
    """Counters of one process; only its event loop's thread writes them."""

    __slots__ = (*_TEXTS, "call_errors", "calls", "revision", "store")

    store_errors: int
    degraded: int
    refused_calls: int
    moved_requests: int
    split_batches: int
    route_rejected: int
    route_failed: int
    shadow_copies: int
    shadow_dropped: int
    shadow_errors: int

    def __init__(self) -> None:
        for name in _TEXTS:
            setattr(self, name, 0)
        self.revision = 0
        self.call_errors: dict[str, int] = {}
        self.calls = Histogram(LATENCY_BOUNDS_S)
        self.store = StoreCounters()

    def call_failed(self, kind: ErrorKind) -> None:
        """Count a call of a predictor, of a whole batch, that failed after all tries."""
        self.call_errors[kind.value] = self.call_errors.get(kind.value, 0) + 1

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        for name, text in _TEXTS.items():
            family = CounterMetricFamily(f"penstock_transformer_{name}", text)
            family.add_metric((), getattr(self, name))
            yield family
        revision = GaugeMetricFamily("penstock_transformer_route_revision", "The route revision that is applied.")
        revision.add_metric((), self.revision)
        yield revision
        calls = HistogramMetricFamily("penstock_transformer_call_seconds", "Time of a call of a predictor, of a whole batch.")
        calls.add_metric((), self.calls.buckets(), self.calls.sum)
        yield calls
        errors = CounterMetricFamily(
            "penstock_transformer_call_errors", "Calls of a predictor that failed after all tries.", labels=("kind",)
        )
        for kind, count in self.call_errors.items():
            errors.add_metric((kind,), count)
        yield errors
        yield from self.store.families()

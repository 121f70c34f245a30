"""What the transformer counts beside requests and batches: plain integers, turned into metric families when scraped."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_TEXTS = {
    "store_errors": "Batches whose feature store read failed.",
    "degraded": "Requests answered with defaults because the feature store was away.",
    "refused_calls": "Predictor calls refused because the predictor holds another bundle.",
    "split_batches": "Batches run again request by request, because one of them may have been at fault.",
    "route_rejected": "Route files that were refused; the route before stayed.",
    "route_failed": "Attempts to apply a route whose bundles could not be fetched.",
    "shadow_copies": "Copies of requests sent to shadow bundles.",
    "shadow_dropped": "Copies of requests not sent because the shadow's queue was full.",
    "shadow_errors": "Copies of requests that failed at a shadow bundle.",
}


class Counters:
    """Counters of one process; only its event loop's thread writes them."""

    __slots__ = (*_TEXTS, "revision")

    store_errors: int
    degraded: int
    refused_calls: int
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

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        for name, text in _TEXTS.items():
            family = CounterMetricFamily(f"penstock_transformer_{name}", text)
            family.add_metric((), getattr(self, name))
            yield family
        revision = GaugeMetricFamily("penstock_transformer_route_revision", "The route revision that is applied.")
        revision.add_metric((), self.revision)
        yield revision

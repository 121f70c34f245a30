"""Metrics, cheap enough to leave on: plain integers on slots instances, turned into Prometheus families only when scraped.

    hot path --(observe_request, observe_error, observe_batch)--> ModelMetrics --(snapshot)--> Metrics.collect --> /metrics
                                                                       other workers' snapshots --(merge)--^

A request costs about 0.4 us here, a tenth of `labels().observe()`: no locks (all writes happen on the event loop's thread), no
label lookups, a bisect for each histogram. A snapshot is plain JSON, so that a parent process can add up its workers.

Invariant: counters only grow, and the number of label sets is bounded (`MAX_MODELS`) whatever callers send.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from penstock.errors import ErrorKind

LATENCY_BOUNDS_S = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
ROW_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
MAX_MODELS = 500

_UNSAFE = re.compile(r"[^ -~]")

_OVERLOADED = ErrorKind.OVERLOADED.value

Snapshot = dict[str, Any]
Source = Callable[[], Iterable[Metric]]


def labelled(families: Iterable[Metric], **labels: str) -> Iterable[Metric]:
    """The families with these labels on every sample, in place."""
    for family in families:
        family.samples = [sample._replace(labels={**labels, **sample.labels}) for sample in family.samples]
        yield family


class InFlight:
    """How many requests for one model are taken and not yet answered, and the bytes of the large bodies among them."""

    __slots__ = ("count", "large_bytes")

    def __init__(self) -> None:
        self.count = 0
        self.large_bytes = 0


class Histogram:
    """Counts by upper bound, and their sum. `counts` has one more entry than `bounds`, for what is above them all."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts as Prometheus wants them, `+Inf` last."""
        total, found = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class ModelMetrics:
    """The counters of one model and bundle. Implements the batcher's `BatchMetrics`."""

    __slots__ = (
        "batch_rows", "bundle", "bytes_in", "bytes_out", "errors", "header",
        "items", "latency", "model", "queue_wait", "requests",
    )  # fmt: skip

    def __init__(self, model: str, bundle: str) -> None:
        self.model = model
        self.bundle = bundle
        # The response header that names the bundle, made once: it goes out with every answer that these counters count.
        self.header = b"penstock-bundle: %b\r\n" % _UNSAFE.sub("?", bundle).encode() if bundle else b""
        self.requests = 0
        self.errors: dict[str, int] = {}
        self.latency = Histogram(LATENCY_BOUNDS_S)
        self.queue_wait = Histogram(LATENCY_BOUNDS_S)
        self.batch_rows = Histogram(ROW_BOUNDS)
        self.items = 0
        self.bytes_in = 0
        self.bytes_out = 0

    def observe_request(self, duration_s: float, bytes_in: int, bytes_out: int) -> None:
        """Count an answered request, failed ones included."""
        self.requests += 1
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        latency = self.latency
        latency.counts[bisect_left(LATENCY_BOUNDS_S, duration_s)] += 1
        latency.sum += duration_s

    def observe_refusal(self, bytes_in: int, bytes_out: int) -> None:
        """Count a request that was refused at once for want of room or time: `observe_request` and `observe_error` in one."""
        self.requests += 1
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self.latency.counts[0] += 1
        self.errors[_OVERLOADED] = self.errors.get(_OVERLOADED, 0) + 1

    def observe_error(self, kind: ErrorKind) -> None:
        """Count a failed request by its kind, beside `observe_request`."""
        self.errors[kind.value] = self.errors.get(kind.value, 0) + 1

    def observe_batch(self, rows: int, items: int, waits_s: Iterable[float]) -> None:
        """Count a run: its rows, the requests that shared it, and how long each of them had waited."""
        self.batch_rows.observe(rows)
        self.items += items
        wait = self.queue_wait
        for waited in waits_s:
            wait.counts[bisect_left(LATENCY_BOUNDS_S, waited)] += 1
            wait.sum += waited

    def snapshot(self) -> Snapshot:
        """Everything as JSON values, for `Metrics.merge`."""
        found: Snapshot = {
            name: getattr(self, name) for name in ("model", "bundle", "requests", "items", "bytes_in", "bytes_out")
        }
        found["errors"] = dict(self.errors)
        for name in ("latency", "queue_wait", "batch_rows"):
            histogram: Histogram = getattr(self, name)
            found[name] = [list(histogram.counts), histogram.sum]
        return found

    def add(self, other: Snapshot) -> None:
        """Add another process's snapshot of the same model and bundle."""
        for name in ("requests", "items", "bytes_in", "bytes_out"):
            setattr(self, name, getattr(self, name) + other[name])
        for kind, count in other["errors"].items():
            self.errors[kind] = self.errors.get(kind, 0) + count
        for name in ("latency", "queue_wait", "batch_rows"):
            histogram: Histogram = getattr(self, name)
            counts, total = other[name]
            histogram.counts = [a + b for a, b in zip(histogram.counts, counts, strict=True)]
            histogram.sum += total


class Metrics:
    """All counters of a process. Register it with a prometheus_client registry: it is a collector.

    Members add families of their own with `add_source`; a parent of several workers adds those up too (`serving.exposition`).
    """

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], ModelMetrics] = {}
        self._in_flight: dict[str, InFlight] = {}
        self._sources: list[tuple[Source, bool]] = []
        # Requests that reached no model: unknown names, broken bodies, health probes gone wrong.
        self.none = self.model("", "")

    def model(self, model: str, bundle: str) -> ModelMetrics:
        """The counters of a model that exists here. Callers must not pass names from requests."""
        found = self._models.get((model, bundle))
        if found is None:
            if len(self._models) >= MAX_MODELS:
                return self.none
            found = self._models[model, bundle] = ModelMetrics(model, bundle)
            self._in_flight.setdefault(model, InFlight())
        return found

    @property
    def models(self) -> int:
        """How many models have counters here."""
        return len(self._in_flight) - 1

    def in_flight(self, model: str) -> "InFlight":
        """The gauge of requests in progress for a model; those that name no known model share one."""
        return self._in_flight.get(model) or self._in_flight[""]

    def add_source(self, source: Source, *, summed: bool = False) -> None:
        """Export further families, made by `source` at each scrape. `summed`: over several workers its gauges add up (queue
        depths do); otherwise the largest is shown (a measured cost, a revision)."""
        self._sources.append((source, summed))

    def families(self) -> Iterable[tuple[Metric, bool]]:
        """The sources' families, each with whether its gauges add up."""
        for source, summed in self._sources:
            for family in source():
                yield family, summed

    def snapshot(self) -> list[Snapshot]:
        """The models' counters as JSON values. A model's gauge goes with the first of its bundles."""
        found = [counters.snapshot() for counters in self._models.values()]
        seen: set[str] = set()
        for entry in found:
            model = entry["model"]
            entry["in_flight"] = 0 if model in seen else self._in_flight[model].count
            seen.add(model)
        return found

    def merge(self, snapshots: Iterable[Snapshot]) -> None:
        """Add other processes' snapshots to these counters."""
        for entry in snapshots:
            self.model(entry["model"], entry["bundle"]).add(entry)
            self.in_flight(entry["model"]).count += entry["in_flight"]

    def collect(self) -> Iterable[Metric]:
        """Prometheus families of all counters; prometheus_client calls this at each scrape."""
        yield from self._counters()
        yield from self._histograms()
        for family, _ in self.families():
            yield family

    def _counted(self) -> list[ModelMetrics]:
        """The models, and those requests that reached none once there are such."""
        return [one for one in self._models.values() if one is not self.none or one.requests]

    def _counters(self) -> Iterable[Metric]:
        labels = ("model", "bundle")
        requests = CounterMetricFamily("penstock_requests", "Requests answered, failed ones included.", labels=labels)
        errors = CounterMetricFamily("penstock_errors", "Requests answered with an error, by kind.", labels=(*labels, "kind"))
        bytes_in = CounterMetricFamily("penstock_request_bytes", "Bytes of request bodies.", labels=labels)
        bytes_out = CounterMetricFamily("penstock_response_bytes", "Bytes of response bodies.", labels=labels)
        items = CounterMetricFamily("penstock_batched_requests", "Requests that went through a batch.", labels=labels)
        in_flight = GaugeMetricFamily("penstock_in_flight", "Requests taken and not yet answered.", labels=("model",))
        for one in self._counted():
            key = (one.model, one.bundle)
            requests.add_metric(key, one.requests)
            bytes_in.add_metric(key, one.bytes_in)
            bytes_out.add_metric(key, one.bytes_out)
            if one.model:
                items.add_metric(key, one.items)
            for kind, count in one.errors.items():
                errors.add_metric((*key, kind), count)
        for model, flying in self._in_flight.items():
            if model or flying.count:
                in_flight.add_metric((model,), flying.count)
        return requests, errors, bytes_in, bytes_out, items, in_flight

    def _histograms(self) -> Iterable[Metric]:
        for attribute, name, text in (
            ("latency", "penstock_request_duration_seconds", "Time from a request's head to its answer."),
            ("queue_wait", "penstock_queue_wait_seconds", "Time a request waited for its batch to run."),
            ("batch_rows", "penstock_batch_rows", "Rows of a batch."),
        ):
            family = HistogramMetricFamily(name, text, labels=("model", "bundle"))
            for one in self._counted():
                histogram: Histogram = getattr(one, attribute)
                if not one.model and not any(histogram.counts):
                    continue
                family.add_metric((one.model, one.bundle), histogram.buckets(), histogram.sum)
            yield family

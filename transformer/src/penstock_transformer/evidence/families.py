"""The evidence as Prometheus families: the same sums, over all revisions of the route, those that are no longer kept included.

    Recorder.entries, dropped --when scraped--> families --> Metrics.add_source

The bins of outputs and features are not told, only how far they are from training: a bundle may have hundreds of them, and
whoever needs them asks `GET /evidence`.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import structs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from penstock.evidence.adding import added
from penstock.evidence.document import Counts, Entry, Histogram, Paired
from penstock.evidence.profiles import against_training
from penstock.evidence.scales import DIFFERENCE_BINS, LATENCY_BINS, difference_bounds, latency_bounds_s
from penstock_transformer.evidence.recorder import Recorder

_LABELS = ("bundle", "mode")
_OCTAVE = 8
_LATENCY_BOUNDS_S = [latency_bounds_s(number) for number in range(LATENCY_BINS)]
_DIFFERENCE_BOUNDS = [difference_bounds(number) for number in range(DIFFERENCE_BINS)]
_FEW = 100
"""Values below which a distance says more of chance than of the values."""

_COUNTERS: tuple[tuple[str, str, Callable[[Entry], float]], ...] = (
    ("requests", "Requests that the route assigned to a bundle, or copies sent to it as a shadow.", lambda e: e.requests),
    ("rows", "Rows of those requests.", lambda e: e.rows),
    ("keys", "Route keys, and requests without one, each once in 60 s.", lambda e: e.keys),
    ("unkeyed", "Requests whose route key was not looked at because too many came in 60 s.", lambda e: e.unkeyed),
    ("moved", "Requests that found no pod of their bundle and were answered by another.", lambda e: e.moved),
)
_KINDS: tuple[tuple[str, str, Callable[[Entry], dict[str, int]]], ...] = (
    ("errors", "Requests that ended with an error, by kind.", lambda e: e.errors),
    ("failed_keys", "Route keys that met an error, each once in 60 s, by the kind of the first.", lambda e: e.failed_keys),
)
_LATENCIES: tuple[tuple[str, str, Callable[[Entry], Counts]], ...] = (
    ("call_seconds", "Time of a call of the predictor, of a whole batch.", lambda e: e.latency.call),
    ("request_seconds", "Time from the start of a request's batch to its answer.", lambda e: e.latency.request),
)
_DISTANCES: tuple[tuple[str, str, Callable[[Entry], dict[str, Histogram]]], ...] = (
    ("output", "Total variation between a bundle's predictions and those of its training.", lambda e: e.outputs),
    ("feature", "Total variation between a bundle's feature values and those of its training.", lambda e: e.features),
)
_PAIRS = ("agreeing", "differing", "slower", "faster", "only_shadow_failed", "only_answer_failed", "both_failed")


def evidence_families(recorder: Recorder) -> Iterable[Metric]:
    """For `Metrics.add_source`."""
    everything = _by_bundle([*recorder.dropped(), *recorder.entries()])
    entries = [structs.replace(e, bundle=recorder.labels.get(e.bundle, e.bundle)) for e in everything]
    for name, text, read in _COUNTERS:
        yield _counter(name, text, _LABELS, [(_labels(entry), read(entry)) for entry in entries])
    for name, text, counts in _KINDS:
        samples = [((*_labels(entry), kind), n) for entry in entries for kind, n in counts(entry).items()]
        yield _counter(name, text, (*_LABELS, "kind"), samples)
    for name, text, bins in _LATENCIES:
        told = [(_labels(entry), bins(entry)) for entry in entries]
        # Told by octaves: the sum, of the bins' middles, is right to 5 % all the same.
        yield _histogram(name, text, _LABELS, told, _LATENCY_BOUNDS_S, _OCTAVE)
    for name, text, histograms in _DISTANCES:
        yield _distances(name, text, [(_labels(entry), histograms(entry)) for entry in entries])
    paired = [(entry.bundle, entry.paired) for entry in entries if entry.paired is not None]
    yield _counter(
        "pairs", "Requests of which a shadow's answer was compared.", ("bundle",), [((b,), p.requests) for b, p in paired]
    )
    results = [((bundle, result), _result(pairs, result)) for bundle, pairs in paired for result in _PAIRS]
    yield _counter("pair_results", "What the comparisons gave; a pair has several results.", ("bundle", "result"), results)
    differences = [((bundle,), pairs.score_differences) for bundle, pairs in paired]
    text = "The greatest difference between the scores of a shadow and of the answer that it was compared with."
    yield _histogram("score_differences", text, ("bundle",), differences, _DIFFERENCE_BOUNDS)


def _by_bundle(entries: Sequence[Entry]) -> list[Entry]:
    """One entry for each bundle, mode and arm, of all revisions."""
    found: dict[tuple[str, bool, str], list[Entry]] = {}
    for entry in entries:
        found.setdefault((entry.bundle, entry.shadow, entry.arm), []).append(entry)
    # Newest first: its bins stand for the outputs, where a route with other bundles had others.
    return [added(several[::-1]) for several in found.values()]


def _labels(entry: Entry) -> tuple[str, str]:
    return entry.bundle, "shadow" if entry.shadow else entry.arm or "live"


def _result(pairs: Paired, result: str) -> float:
    return float(getattr(pairs, result))


def _counter(name: str, text: str, labels: Sequence[str], samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = CounterMetricFamily(f"penstock_evidence_{name}", text, labels=labels)
    for values, count in samples:
        family.add_metric(values, count)
    return family


def _histogram(
    name: str,
    text: str,
    labels: Sequence[str],
    several: Iterable[tuple[tuple[str, ...], Counts]],
    bounds: Sequence[tuple[float, float]],
    together: int = 1,
) -> Metric:
    """A bucket of so many bins `together`; `bounds` are those of each bin, and the sum is that of their middles."""
    family = HistogramMetricFamily(f"penstock_evidence_{name}", text, labels=labels)
    for values, counts in several:
        found, total, buckets = dict(counts), 0, []
        for stop in range(together, len(bounds) + 1, together):
            total += sum(found.get(number, 0) for number in range(stop - together, stop))
            bound = f"{bounds[stop - 1][1]:.6g}" if stop < len(bounds) else "+Inf"
            buckets.append((bound, float(total)))
        family.add_metric(values, buckets, sum(n * sum(bounds[number]) / 2 for number, n in counts))
    return family


def _distances(name: str, text: str, several: Iterable[tuple[tuple[str, ...], dict[str, Histogram]]]) -> Metric:
    family = GaugeMetricFamily(f"penstock_evidence_{name}_distance_ratio", text, labels=(*_LABELS, name))
    for values, histograms in several:
        for each, histogram in histograms.items():
            distance = total_variation(histogram)
            if distance is not None:
                family.add_metric((*values, each), distance)
    return family


def total_variation(histogram: Histogram) -> float | None:
    """Half the sum of what the shares of live and of training values differ by, 0 to 1; None where there is no training, or
    there are too few live values."""
    compared = against_training(histogram)
    if compared is None or sum(compared[0]) < _FEW or not sum(compared[1]):
        return None
    live, training = (sum(counts) for counts in compared)
    return sum(abs(a / live - b / training) for a, b in zip(*compared, strict=True)) / 2

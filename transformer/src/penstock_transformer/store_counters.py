"""What the transformer counts of stored features: reads, and values that were missing, too old, or replaced by a default.

    Pipeline (a read: seconds, keys) --+
    resolve (only where a value is missing or too old) --+--> StoreCounters --families--> Metrics.add_source

A batch with nothing missing costs two additions and a bisect here; everything that is told by set or by feature is counted on the
way that such a batch does not take. The ages shown are those of the newest batches, worked out when they are scraped.

Invariant: labels are sets and features of bundles that were loaded, at most MOST_NAMES of each.
"""

import time
from collections import deque
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from penstock.metrics import LATENCY_BOUNDS_S, Histogram

MOST_NAMES = 1000
_AGES_KEPT_S = 300.0
_BATCHES = 16
Ages = Mapping[str, npt.NDArray[np.float64]]


class StoreCounters:
    """Counters of one process; only its event loop's thread writes them."""

    def __init__(self) -> None:
        self.reads = Histogram(LATENCY_BOUNDS_S)
        self.keys = 0
        self.rows = 0
        self._absent: dict[str, int] = {}
        self._stale: dict[str, int] = {}
        self._defaulted: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._newest: deque[tuple[float, Ages]] = deque(maxlen=_BATCHES)

    def resolved(self, rows: int, ages: Ages) -> None:
        """A batch of `rows` rows was given its values, as old as `ages` says."""
        self.rows += rows
        self._newest.append((time.monotonic(), ages))

    def absent(self, name: str, rows: int) -> None:
        """Rows for which the store holds nothing of a set."""
        _add(self._absent, name, rows)

    def stale(self, name: str, rows: int) -> None:
        """Rows for which what the store holds of a set is older than its maximum age."""
        _add(self._stale, name, rows)

    def defaulted(self, feature: str, rows: int) -> None:
        """Rows in which a feature's default stands for its value."""
        _add(self._defaulted, feature, rows)

    def refused(self, feature: str, rows: int) -> None:
        """Rows that may not be predicted without this feature."""
        _add(self._refused, feature, rows)

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        reads = HistogramMetricFamily("penstock_store_read_seconds", "Time of a read of the feature store, of a whole batch.")
        reads.add_metric((), self.reads.buckets(), self.reads.sum)
        yield reads
        yield CounterMetricFamily("penstock_store_keys", "Entity keys that were looked up.", self.keys)
        yield CounterMetricFamily("penstock_store_rows", "Rows that were given their features.", self.rows)
        for name, text, label, counts in (
            ("penstock_store_absent_rows", "Rows for which the store held nothing of the set.", "set", self._absent),
            ("penstock_store_stale_rows", "Rows for which the stored set was older than its maximum age.", "set", self._stale),
            ("penstock_feature_defaulted_rows", "Rows in which the default stood for the value.", "feature", self._defaulted),
            ("penstock_feature_refused_rows", "Rows refused because the value is missing or old.", "feature", self._refused),
        ):
            family = CounterMetricFamily(name, text, labels=(label,))
            for key, count in counts.items():
                family.add_metric((key,), count)
            yield family
        yield self._oldest()

    def _oldest(self) -> Metric:
        text = f"Age of the oldest stored value of the newest {_BATCHES} batches, by set; none after five minutes."
        family = GaugeMetricFamily("penstock_store_value_age_seconds", text, labels=("set",))
        now, oldest = time.monotonic(), dict[str, float]()
        for at, batch in self._newest:
            for name, ages in batch.items() if now - at <= _AGES_KEPT_S else ():
                known = ages[~np.isnan(ages)]
                if len(known):
                    oldest[name] = max(oldest.get(name, 0.0), float(known.max()) + now - at)
        for name, age_s in oldest.items():
            family.add_metric((name,), age_s)
        return family


def _add(counts: dict[str, int], name: str, rows: int) -> None:
    if name in counts or len(counts) < MOST_NAMES:
        counts[name] = counts.get(name, 0) + rows

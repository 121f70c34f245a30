"""What is counted of stored features, and of the route that is applied."""

import numpy as np
from prometheus_client.core import GaugeMetricFamily

from penstock.metrics import labelled
from penstock_transformer.store_counters import MOST_NAMES, StoreCounters


def samples(counters: StoreCounters) -> dict[tuple[str, ...], float]:
    return {(s.name, *s.labels.values()): s.value for family in counters.families() for s in family.samples}


def test_rows_are_counted_by_set_and_by_feature() -> None:
    counters = StoreCounters()
    counters.absent("planes", 2)
    counters.absent("planes", 1)
    counters.stale("weather", 4)
    counters.defaulted("seats", 3)
    counters.refused("wind", 1)
    counters.keys += 5
    counters.reads.observe(0.004)
    found = samples(counters)
    assert found["penstock_store_absent_rows_total", "planes"] == 3
    assert found["penstock_store_stale_rows_total", "weather"] == 4
    assert found["penstock_feature_defaulted_rows_total", "seats"] == 3
    assert found["penstock_feature_refused_rows_total", "wind"] == 1
    assert found[("penstock_store_keys_total",)] == 5
    assert found["penstock_store_read_seconds_bucket", "0.005"] == 1


def test_the_age_is_the_oldest_of_the_newest_batches_and_grows() -> None:
    counters = StoreCounters()
    counters.resolved(2, {"planes": np.array([100.0, 30.0]), "weather": np.array([np.nan, np.nan])})
    counters.resolved(3, {"planes": np.array([50.0, np.nan, 20.0])})
    found = samples(counters)
    assert found[("penstock_store_rows_total",)] == 5
    assert 100.0 <= found["penstock_store_value_age_seconds", "planes"] < 1000.0
    assert ("penstock_store_value_age_seconds", "weather") not in found
    for _ in range(20):
        counters.resolved(1, {"planes": np.array([50.0])})
    assert 50.0 <= samples(counters)["penstock_store_value_age_seconds", "planes"] < 100.0


def test_names_are_bounded() -> None:
    counters = StoreCounters()
    for number in range(MOST_NAMES + 5):
        counters.defaulted(f"f{number}", 1)
    counters.defaulted("f0", 1)
    found = [name for name in samples(counters) if name[0] == "penstock_feature_defaulted_rows_total"]
    assert len(found) == MOST_NAMES


def test_labels_are_put_on_every_sample() -> None:
    family = GaugeMetricFamily("penstock_x", "X.", labels=("a",))
    family.add_metric(("1",), 2)
    (made,) = labelled([family], model="m")
    assert [sample.labels for sample in made.samples] == [{"model": "m", "a": "1"}]

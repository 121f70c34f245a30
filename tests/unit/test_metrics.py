"""Metrics of a process: what is counted under which labels, how many of them there can be, and processes added up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest

from penstock.errors import ErrorKind
from penstock.metrics import LATENCY_BOUNDS_S, MAX_MODELS, Histogram, Metrics


def exported(metrics: Metrics) -> dict[str, float]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    lines = generate_latest(registry).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


@given(st.lists(st.floats(min_value=0, max_value=100, allow_nan=False)))
def test_histogram_counts_every_value_at_or_below_its_bound(values):
    histogram = Histogram(LATENCY_BOUNDS_S)
    for value in values:
        histogram.observe(value)
    for bound, count in histogram.buckets():
        assert count == sum(value <= float(bound) for value in values)
    assert histogram.sum == pytest.approx(sum(values))


def test_exports_requests_errors_and_batches_by_model_and_bundle():
    metrics = Metrics()
    counters = metrics.model("m", "b@1")
    counters.observe_request(0.004, 100, 50)
    counters.observe_request(0.2, 10, 5)
    counters.observe_error(ErrorKind.OVERLOADED)
    counters.observe_batch(3, 2, [0.001, 0.002])
    metrics.in_flight("m").count += 1
    found = exported(metrics)
    labels = '{bundle="b@1",model="m"}'
    assert found[f"penstock_requests_total{labels}"] == 2
    assert found['penstock_errors_total{bundle="b@1",kind="overloaded",model="m"}'] == 1
    assert found[f"penstock_request_bytes_total{labels}"] == 110
    assert found[f"penstock_response_bytes_total{labels}"] == 55
    assert found[f"penstock_batched_requests_total{labels}"] == 2
    assert found[f"penstock_queue_wait_seconds_count{labels}"] == 2
    assert found['penstock_batch_rows_bucket{bundle="b@1",le="4",model="m"}'] == 1
    assert found['penstock_request_duration_seconds_bucket{bundle="b@1",le="0.005",model="m"}'] == 1
    assert found[f"penstock_request_duration_seconds_sum{labels}"] == pytest.approx(0.204)
    assert found['penstock_in_flight{model="m"}'] == 1


def test_unknown_models_share_what_reached_none():
    metrics = Metrics()
    assert metrics.in_flight("made up") is metrics.in_flight("")


def test_the_number_of_label_sets_is_bounded():
    metrics = Metrics()
    for number in range(MAX_MODELS + 10):
        metrics.model(f"m{number}", "")
    assert metrics.model("one more", "") is metrics.none
    assert len(metrics.snapshot()) == MAX_MODELS


def test_snapshots_of_several_processes_add_up():
    processes = [Metrics(), Metrics(), Metrics()]
    for number, metrics in enumerate(processes, 1):
        counters = metrics.model("m", "b")
        for _ in range(number):
            counters.observe_request(0.01, 1, 2)
        counters.observe_error(ErrorKind.INTERNAL)
        counters.observe_batch(number, 1, [0.1])
        metrics.in_flight("m").count = number
    merged = Metrics()
    for metrics in processes:
        merged.merge(metrics.snapshot())
    found = exported(merged)
    labels = '{bundle="b",model="m"}'
    assert found[f"penstock_requests_total{labels}"] == 6
    assert found[f"penstock_batch_rows_sum{labels}"] == 6
    assert found[f"penstock_request_duration_seconds_count{labels}"] == 6
    assert found['penstock_errors_total{bundle="b",kind="internal",model="m"}'] == 3
    assert found['penstock_in_flight{model="m"}'] == 6


def test_a_model_with_two_bundles_counts_its_flights_once():
    metrics = Metrics()
    metrics.model("m", "one")
    metrics.model("m", "two")
    metrics.in_flight("m").count = 3
    merged = Metrics()
    merged.merge(metrics.snapshot())
    assert merged.in_flight("m").count == 3


def test_sources_are_exported_with_the_rest():
    metrics = Metrics()
    metrics.add_source(lambda: [GaugeMetricFamily("penstock_depth", "Depth.", value=4)])
    assert exported(metrics)["penstock_depth"] == 4


def test_a_bundle_name_cannot_break_out_of_its_header():
    assert Metrics().model("m", "evil\r\nx: y").header.count(b"\r\n") == 1


def test_what_reached_no_model_is_shown_once_there_is_some():
    metrics = Metrics()
    metrics.model("m", "b")
    assert not [line for line in exported(metrics) if 'model=""' in line]
    metrics.none.observe_request(0.01, 1, 1)
    found = exported(metrics)
    assert found['penstock_requests_total{bundle="",model=""}'] == 1
    assert found['penstock_request_duration_seconds_count{bundle="",model=""}'] == 1
    assert not [line for line in found if 'model=""' in line and ("batch" in line or "queue" in line)]

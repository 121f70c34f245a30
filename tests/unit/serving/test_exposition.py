"""The metrics of several workers as one text."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from penstock.metrics import Metrics
from penstock.serving.exposition import combined, render, retired, snapshot


def worker(number: int) -> Metrics:
    metrics = Metrics()
    metrics.model("m", "b").observe_request(0.01, 1, 1)
    metrics.in_flight("m").count = 1

    def families():
        reads = CounterMetricFamily("penstock_reads", "Reads.", labels=["view"])
        reads.add_metric(["planes"], number)
        waits = HistogramMetricFamily("penstock_waits", "Waits.", buckets=[("1", number), ("+Inf", number)], sum_value=number)
        return [reads, waits, GaugeMetricFamily("penstock_revision", "Revision.", value=number)]

    metrics.add_source(families)
    metrics.add_source(lambda: [GaugeMetricFamily("penstock_depth", "Depth.", value=number)], summed=True)
    return metrics


def lines(text: bytes) -> dict[str, float]:
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.decode().splitlines() if not line.startswith("#")
    }


def test_workers_are_added_up_and_gauges_as_their_source_says():
    found = lines(render([snapshot(worker(2)), snapshot(worker(5))]))
    assert found['penstock_requests_total{bundle="b",model="m"}'] == 2
    assert found['penstock_reads_total{view="planes"}'] == 7
    assert found['penstock_waits_bucket{le="1"}'] == 7
    assert found["penstock_waits_sum"] == 7
    assert found["penstock_revision"] == 5
    assert found["penstock_depth"] == 7
    assert found['penstock_in_flight{model="m"}'] == 2
    assert found["process_resident_memory_bytes"] > 0


def test_the_dead_leave_their_counters_and_nothing_else():
    dead = combined([retired(snapshot(worker(2))), retired(snapshot(worker(3)))])
    found = lines(render([dead, snapshot(worker(1))]))
    assert found['penstock_requests_total{bundle="b",model="m"}'] == 3
    assert found['penstock_reads_total{view="planes"}'] == 6
    assert found["penstock_revision"] == 1
    assert found["penstock_depth"] == 1
    assert found['penstock_in_flight{model="m"}'] == 1


def test_each_family_is_named_once():
    text = render([snapshot(worker(1)), snapshot(worker(2))]).decode()
    names = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))

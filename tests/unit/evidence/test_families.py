"""The same sums as Prometheus has them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from prometheus_client import CollectorRegistry, generate_latest

from penstock.evidence.document import Bins, Entry, Histogram, Training
from penstock.evidence.scales import DIFFERENCE_BINS
from penstock.metrics import Metrics
from penstock_transformer.evidence.families import evidence_families, total_variation
from penstock_transformer.evidence.recorder import Recorder


def text(*entries: Entry) -> str:
    recorder = cast(
        Recorder, SimpleNamespace(entries=lambda: list(entries), dropped=list, labels={entries[0].bundle: "flights@it"})
    )
    registry = CollectorRegistry(auto_describe=False)
    metrics = Metrics()
    metrics.add_source(lambda: evidence_families(recorder))
    registry.register(metrics)
    return generate_latest(registry).decode()


def test_revisions_are_added_and_modes_are_not(entry: Callable[..., Entry]) -> None:
    found = text(entry(3, failed=1), entry(4, revision=2), entry(8, revision=2, shadow=True))
    assert 'penstock_evidence_requests_total{bundle="flights@it",mode="live"} 7.0' in found
    assert 'penstock_evidence_requests_total{bundle="flights@it",mode="shadow"} 8.0' in found
    assert 'penstock_evidence_errors_total{bundle="flights@it",kind="internal",mode="live"} 1.0' in found
    assert 'penstock_evidence_pair_results_total{bundle="flights@it",result="agreeing"} 8.0' in found
    assert 'penstock_evidence_call_seconds_count{bundle="flights@it",mode="live"} 7.0' in found
    assert 'penstock_evidence_call_seconds_bucket{bundle="flights@it",le="0.0002",mode="live"} 0.0' in found
    assert 'penstock_evidence_call_seconds_bucket{bundle="flights@it",le="0.0004",mode="live"} 7.0' in found


def test_differences_of_scores_are_told_in_the_bins_of_the_document(entry: Callable[..., Entry]) -> None:
    shadow, other = entry(8, shadow=True), entry(2, revision=2, shadow=True)
    assert shadow.paired is not None
    # Below 1e-8, then from 0.1 up, then whatever is greatest.
    shadow.paired.score_differences = [(0, 5), (29, 2), (41, 1)]
    name = 'penstock_evidence_score_differences_{}{{bundle="flights@it"{}}} {}'
    found = text(shadow, other).splitlines()
    for bound, count in (("1e-08", 7), ("0.1", 7), ("0.177828", 9), ("100", 9), ("+Inf", 10)):
        assert name.format("bucket", f',le="{bound}"', float(count)) in found
    assert name.format("count", "", 10.0) in found
    assert sum("score_differences_bucket" in line for line in found) == DIFFERENCE_BINS


def test_distance_from_training() -> None:
    bins = Bins(edges=(0.0, 0.5, 1.0))
    training = Training(bins, (0, 50, 50, 0, 0, 0))
    assert total_variation(Histogram(bins, [0, 100, 100, 0, 0, 0], training)) == 0
    assert total_variation(Histogram(bins, [0, 0, 150, 50, 0, 0], training)) == 0.5
    assert total_variation(Histogram(bins, [200, 0, 0, 0, 0, 0], training)) == 1
    assert total_variation(Histogram(bins, [0, 1, 1, 0, 0, 0], training)) is None
    assert total_variation(Histogram(bins, [0, 100, 100, 0, 0, 0])) is None

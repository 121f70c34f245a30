"""From what transformers tell to the arms of an analysis."""

from msgspec.structs import replace

from penstock.evidence.document import Bins, Entry, Histogram, Latency, Paired
from penstock_operator.analysis.merged import read_arm, stage_evidence

NEW, OLD = "sha256:new", "sha256:old"


def _entry(bundle: str, revision: int, keys: int, *, shadow: bool = False) -> Entry:
    by_key = Paired(requests=keys, agreeing=keys - 1, differing=1, latency_ratios=[(80, keys)])
    return Entry(
        bundle,
        revision,
        shadow,
        requests=2 * keys,
        keys=keys,
        failed_keys={"internal": 3, "unauthenticated": 5, "invalid_input": 1},
        latency=Latency([(60, keys)], [(61, keys), (62, keys)], [(61, keys)], keys - 1),
        outputs={"label": Histogram(Bins(values=("late", "on time")), [keys, keys, 0, 0], None, [1, keys - 1, 0, 0])},
        paired=Paired(requests=2 * keys, agreeing=keys, differing=keys, keys=by_key) if shadow else None,
    )


def _in_halves(entry: Entry, upper: int) -> Entry:
    """So many of its latencies, and ratios, in the upper half of their bin."""
    latency = replace(entry.latency, keys_upper=[(61, upper)], keys_halved=entry.keys)
    if entry.paired is None:
        return replace(entry, latency=latency)
    assert entry.paired.keys is not None
    keys = replace(entry.paired.keys, ratios_upper=[(80, upper)], ratios_halved=entry.keys)
    return replace(entry, latency=latency, paired=replace(entry.paired, keys=keys))


def test_a_stage_is_the_revisions_that_it_stood_in() -> None:
    totals = [_entry(NEW, 7, 10), _entry(NEW, 8, 20), _entry(NEW, 9, 400), _entry(OLD, 7, 100), _entry(OLD, 8, 200)]
    evidence = stage_evidence(totals, candidate=NEW, baseline=OLD, revisions={7, 8})
    assert (evidence.candidate.units, evidence.baseline.units) == (30, 300)
    assert (evidence.candidate.latency, evidence.candidate.per_doubling) == ({61: 30}, 8)
    assert evidence.candidate.calls == 28
    assert evidence.candidate.outputs == {"label": [2, 28, 0, 0]}
    assert evidence.pairs is None


def test_a_shadow_brings_its_pairs_and_live_requests_are_not_its_own() -> None:
    totals = [_entry(NEW, 7, 10, shadow=True), _entry(NEW, 7, 5), _entry(OLD, 7, 100)]
    evidence = stage_evidence(totals, candidate=NEW, baseline=OLD, revisions={7}, shadow=True)
    assert evidence.candidate.units == 10
    assert evidence.pairs is not None
    assert (evidence.pairs.requests, evidence.pairs.units, evidence.pairs.differing) == (20, 10, 1)
    assert (evidence.pairs.ratios, evidence.pairs.per_doubling) == ({80: 10}, 8)


def test_what_was_counted_in_halves_of_bins_is_read_in_them_unless_some_of_it_was_not() -> None:
    finer = [_in_halves(_entry(NEW, 7, 10, shadow=True), 4), _in_halves(_entry(OLD, 7, 100), 30)]
    evidence = stage_evidence(finer, candidate=NEW, baseline=OLD, revisions={7}, shadow=True)
    assert (evidence.candidate.latency, evidence.candidate.per_doubling) == ({122: 6, 123: 4}, 16)
    assert (evidence.baseline.latency, evidence.baseline.per_doubling) == ({122: 70, 123: 30}, 16)
    assert evidence.pairs is not None
    assert (evidence.pairs.ratios, evidence.pairs.per_doubling) == ({160: 6, 161: 4}, 16)
    mixed = [finer[0], _entry(NEW, 8, 5, shadow=True)]
    evidence = stage_evidence(mixed, candidate=NEW, baseline=OLD, revisions={7, 8}, shadow=True)
    assert (evidence.candidate.latency, evidence.candidate.per_doubling) == ({61: 15}, 8)
    assert evidence.pairs is not None
    assert (evidence.pairs.ratios, evidence.pairs.per_doubling) == ({80: 15}, 8)


def test_an_arm_stands_for_its_bundle_and_only_in_revisions_that_have_it() -> None:
    apart = replace(_entry(OLD, 8, 21), arm="baseline")
    totals = [_entry(NEW, 7, 10), _entry(OLD, 7, 190), _entry(NEW, 8, 20), _entry(OLD, 8, 160), apart]
    evidence = stage_evidence(totals, candidate=NEW, baseline=OLD, revisions={7, 8}, arm="baseline")
    assert (evidence.candidate.units, evidence.baseline.units) == (20, 21)
    # Without it the bundle's other pods are compared, and the arm's requests are nobody's.
    evidence = stage_evidence(totals, candidate=NEW, baseline=OLD, revisions={7, 8})
    assert (evidence.candidate.units, evidence.baseline.units) == (30, 350)


def test_errors_that_no_bundle_had_a_part_in_are_not_its_failures() -> None:
    assert read_arm(_entry(NEW, 1, 10)).failed == 4


def test_nothing_told_is_an_empty_arm() -> None:
    evidence = stage_evidence([], candidate=NEW, baseline=OLD, revisions={1}, shadow=True)
    assert evidence.candidate.units == evidence.baseline.units == 0
    assert evidence.pairs is not None

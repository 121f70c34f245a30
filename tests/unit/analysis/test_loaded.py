"""Which of a rollout's revisions shows the version before under load."""

import pytest

from penstock.evidence.document import Entry, Latency
from penstock_operator.analysis.loaded import ENOUGH, read_loaded

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def _entry(bundle: str, revision: int, requests: int, *, shadow: bool = False, arm: str = "") -> Entry:
    counts = [(50 + revision, requests)]
    return Entry(bundle, revision, shadow, requests=requests, keys=requests, latency=Latency(counts, counts), arm=arm)


def _chosen(*entries: Entry, revisions: range = range(1, 9)) -> int | None:
    """The revision, of which each has a bin of its own."""
    found = read_loaded(entries, candidate=NEW, baseline=OLD, revisions=revisions)
    assert found is None or found.revision == max(found.arm.latency) - 50
    return None if found is None else found.revision


STEPS = [_entry(OLD, 4, 19_000), _entry(NEW, 4, 1000), _entry(OLD, 5, 10_000), _entry(NEW, 5, 10_000)]


def test_the_newest_in_which_it_had_most_of_the_requests() -> None:
    assert _chosen(*STEPS) == 4
    assert _chosen(_entry(OLD, 3, 20_000), *STEPS) == 4
    assert _chosen(_entry(OLD, 3, 20_000), *STEPS[2:]) == 3
    assert _chosen(*STEPS[2:]) == 5


def test_not_one_of_a_few_moments_nor_of_another_time_nor_of_copies_or_other_pods() -> None:
    assert _chosen(_entry(OLD, 3, ENOUGH - 1), *STEPS[2:]) == 5
    assert _chosen(_entry(OLD, 3, ENOUGH - 1)) is None
    assert _chosen(*STEPS, revisions=range(5, 9)) == 5
    assert _chosen(_entry(OLD, 6, 9000, shadow=True), _entry(NEW, 6, 9000)) is None
    assert _chosen(_entry(OLD, 6, 9000, arm="baseline"), _entry(NEW, 6, 9000)) is None


def test_where_few_keys_made_its_requests_it_has_few_latencies() -> None:
    many = [(53, 20_000)]
    loud = Entry(OLD, 3, requests=20_000, keys=60, latency=Latency(many, many, [(53, 60)], 60))
    assert _chosen(loud) is None
    assert _chosen(loud, *STEPS[2:]) == 5


def test_what_load_did_is_how_much_longer_it_took_than_the_candidate_in_the_same_moments() -> None:
    def factor(*entries: Entry) -> float | None:
        found = read_loaded(entries, candidate=NEW, baseline=OLD, revisions=range(1, 9))
        return None if found is None else found.factor

    many, few = [(57, 5000)], [(49, 300)]
    loaded, light = Entry(OLD, 4, requests=5000, keys=5000), Entry(NEW, 4, requests=300, keys=300)
    loaded.latency, light.latency = Latency(many, many), Latency(few, few)
    assert factor(loaded, light) == pytest.approx(2.0)
    light.shadow = True
    assert factor(loaded, light) == pytest.approx(2.0)
    # In eighths, where one of the two is told in no others.
    light.latency = Latency(few, few, few, 300, [(49, 300)], 300)
    assert factor(loaded, light) == pytest.approx(2.0)
    # Of other moments, of too few requests, of none.
    assert factor(loaded, _entry(NEW, 5, 4000)) == 1.0
    light.latency = Latency([(49, 99)], [(49, 99)])
    assert factor(loaded, light) == 1.0
    assert factor(loaded) == 1.0
    assert factor(light) is factor() is None
    # It is not quicker for having more to do.
    light.latency = Latency([(70, 300)], [(70, 300)])
    assert factor(loaded, light) == 1.0


def test_it_is_told_in_the_wider_bins() -> None:
    wide = [(50, 2000)]
    entry = Entry(OLD, 4, requests=2000, keys=2000, latency=Latency(wide, wide, wide, 2000, [(50, 700)], 2000))
    found = read_loaded([entry], candidate=NEW, baseline=OLD, revisions=range(1, 9))
    assert found is not None
    assert (found.arm.latency, found.arm.per_doubling) == ({50: 2000}, 8)

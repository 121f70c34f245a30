"""Halves of bins beside the bins: what readers of either release make of them, whoever of the two told, kept or added them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.evidence.document import Entry, Evidence, Latency, Paired, Process, read_evidence
from penstock.evidence.halves import by_half, halved
from penstock.evidence.ledger import Ledger

DENSE = st.lists(st.integers(0, 5), max_size=40)


def entry(counts: list[int], *, finer: bool = True) -> Entry:
    """Of a shadow, with these counts by half a bin; as the release before tells them, which knows no halves."""
    bins, upper, known = halved(counts) if finer else (halved(counts)[0], [], 0)
    paired = Paired(keys=Paired(latency_ratios=bins, ratios_upper=upper, ratios_halved=known))
    latency = Latency(keys=bins, batches=sum(counts), keys_upper=upper, keys_halved=known)
    return Entry("sha256:x", 1, True, requests=sum(counts), keys=sum(counts), latency=latency, paired=paired)


def pod(incarnation: str, told: Entry, age_s: float = 600.0) -> Evidence:
    return Evidence("flights", [Process(incarnation, age_s, [told])])


def read(ledger: Ledger) -> tuple[list[tuple[int, int]], dict[int, int] | None]:
    """The latencies by bin, and by half."""
    (total,) = ledger.totals
    assert total.paired is not None
    assert total.paired.keys is not None
    latency, pairs = total.latency, total.paired.keys
    halves = by_half(latency.keys, latency.keys_upper, latency.keys_halved)
    assert (latency.keys, halves) == (
        pairs.latency_ratios,
        by_half(pairs.latency_ratios, pairs.ratios_upper, pairs.ratios_halved),
    )
    return latency.keys, halves


@given(DENSE)
def test_what_is_told_by_halves_is_read_by_halves_and_by_bins(counts: list[int]) -> None:
    bins, upper, known = halved(counts)
    assert by_half(bins, upper, known) == {half: count for half, count in enumerate(counts) if count}
    wide = [sum(counts[at : at + 2]) for at in range(0, len(counts), 2)]
    assert bins == [(number, count) for number, count in enumerate(wide) if count]


@pytest.mark.parametrize("told", [([(3, 2)], [], 0), ([(3, 2)], [(3, 1)], 1), ([(3, 2)], [(3, 3)], 2), ([(3, 2)], [(4, 1)], 2)])
def test_halves_that_are_not_known_of_all_or_do_not_fit_are_none(told: Any) -> None:
    assert by_half(*told) is None


def test_the_release_before_reads_what_it_always_read() -> None:
    class Before(msgspec.Struct, omit_defaults=True):
        call: list[tuple[int, int]] = []
        request: list[tuple[int, int]] = []
        keys: list[tuple[int, int]] = []
        batches: int = 0

    told = msgspec.json.encode(pod("a", entry([0, 3, 2, 1])))
    assert read_evidence(told).format_version == 1
    latency = msgspec.json.decode(told)["processes"][0]["entries"][0]["latency"]
    assert msgspec.convert(latency, Before) == Before(keys=[(0, 3), (1, 3)], batches=6)


def test_a_process_of_this_release_is_read_by_halves() -> None:
    ledger = Ledger()
    for counts in ([1, 2], [1, 5, 0, 1]):
        ledger.take([pod("a", entry(counts)), pod("young", entry(counts), age_s=5.0)])
    assert read(ledger) == ([(0, 6), (1, 1)], {0: 1, 1: 5, 3: 1})


def test_beside_a_process_of_the_release_before_all_is_read_by_bins() -> None:
    ledger = Ledger()
    ledger.take([pod("new", entry([1, 2])), pod("old", entry([4], finer=False))])
    assert read(ledger) == ([(0, 7)], None)
    # Of one that had told nothing yet nothing is unknown.
    ledger = Ledger()
    ledger.take([pod("new", entry([1, 2])), pod("old", entry([], finer=False))])
    assert read(ledger)[1] == {0: 1, 1: 2}


def test_what_an_operator_of_the_release_before_kept_is_gone_on_from_by_bins_and_counted_once() -> None:
    """It drops what it does not know of the ledger, of the totals and of what each process had told."""
    ledger = Ledger()
    ledger.take([pod("a", entry([3, 1]))])
    ledger = msgspec.convert(_without_halves(msgspec.to_builtins(ledger)), Ledger)
    for counts in ([3, 3], [4, 3, 0, 1]):
        ledger.take([pod("a", entry(counts))])
        bins, halves = read(ledger)
        assert halves is None
    assert bins == [(0, 7), (1, 1)]
    # Neither are they taken for known where as many were left out, young, as had come unknown.
    ledger = Ledger()
    ledger.take([pod("old", entry([4], finer=False)), pod("a", entry([3, 1]), age_s=5.0)])
    ledger = msgspec.convert(_without_halves(msgspec.to_builtins(ledger)), Ledger)
    ledger.take([pod("a", entry([3, 1]))])
    assert read(ledger) == ([(0, 4)], None)


def _without_halves(told: Any) -> Any:
    if isinstance(told, dict):
        return {name: _without_halves(each) for name, each in told.items() if "upper" not in name and "halved" not in name}
    return [_without_halves(each) for each in told] if isinstance(told, list) else told

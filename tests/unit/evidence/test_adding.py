"""Sums of many processes and differences of two looks, as properties of any counts."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.evidence.adding import Fallen, add_counts, added, difference, merged, subtract_counts
from penstock.evidence.document import Bins, Entry, Evidence, Histogram, Latency, Paired, Process, read_evidence
from penstock.evidence.halves import halved

COUNTS = st.dictionaries(st.integers(0, 20), st.integers(1, 9), max_size=6).map(lambda found: sorted(found.items()))
KINDS = st.dictionaries(st.sampled_from(["internal", "overloaded", "deadline_exceeded"]), st.integers(1, 9))
BINS = Bins(edges=(0.0, 1.0))
FIVE = st.lists(st.integers(0, 9), min_size=5, max_size=5)
HISTOGRAMS = st.dictionaries(
    st.sampled_from(["label", "value"]),
    st.tuples(FIVE, st.just([]) | FIVE).map(lambda told: Histogram(BINS, told[0], None, told[1])),
)
NUMBER = st.integers(0, 99)
DENSE = st.lists(st.integers(0, 9), max_size=20)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    ratios, ratios_upper, ratios_halved = halved(draw(DENSE))
    keys, keys_upper, keys_halved = halved(draw(DENSE))
    by_key = Paired(
        requests=draw(NUMBER),
        only_shadow_failed=draw(NUMBER),
        latency_ratios=ratios,
        ratios_upper=ratios_upper,
        ratios_halved=ratios_halved,
    )
    pairs = Paired(
        requests=draw(NUMBER),
        agreeing=draw(NUMBER),
        slower=draw(NUMBER),
        score_differences=draw(COUNTS),
        keys=by_key if draw(st.booleans()) else None,
    )
    return Entry(
        draw(st.sampled_from(["sha256:a", "sha256:b"])),
        draw(st.integers(0, 1)),
        draw(st.booleans()),
        requests=draw(NUMBER),
        rows=draw(NUMBER),
        errors=draw(KINDS),
        keys=draw(NUMBER),
        failed_keys=draw(KINDS),
        unkeyed=draw(NUMBER),
        latency=Latency(draw(COUNTS), draw(COUNTS), keys, draw(NUMBER), keys_upper, keys_halved),
        outputs=draw(HISTOGRAMS),
        features=draw(HISTOGRAMS),
        paired=pairs if draw(st.booleans()) else None,
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(entries(), max_size=4), st.randoms())
def test_a_merge_knows_no_order_and_no_groups(several: list[Entry], random: Any) -> None:
    whole = merged(several)
    mixed = list(several)
    random.shuffle(mixed)
    cut = len(mixed) // 2
    assert merged(mixed) == whole
    assert merged([*merged(mixed[:cut]), *merged(mixed[cut:])]) == whole


@settings(max_examples=30, deadline=None)
@given(entries(), entries())
def test_what_came_between_two_looks_makes_the_first_the_second(earlier: Entry, more: Entry) -> None:
    more = msgspec.structs.replace(more, bundle=earlier.bundle, revision=earlier.revision, shadow=earlier.shadow)
    later = added([earlier, more])
    assert added([earlier, difference(later, earlier)]) == later


@given(COUNTS, COUNTS)
def test_sparse_counts(some: list[tuple[int, int]], more: list[tuple[int, int]]) -> None:
    total = add_counts([some, more])
    assert subtract_counts(total, some) == more
    assert sum(n for _, n in total) == sum(n for _, n in some) + sum(n for _, n in more)


@pytest.mark.parametrize("later", [[], [(1, 2)], [(1, 2), (2, 9)], [(2, 3)]])
def test_sparse_counts_that_fall_or_are_gone_are_not_believed(later: list[tuple[int, int]]) -> None:
    assert subtract_counts([(2, 4), (1, 3)], [(1, 3), (3, 0)]) == [(2, 4)]
    with pytest.raises(Fallen):
        subtract_counts(later, [(1, 3)])


# As no pod that is right tells them: bins more than once, in any order, and some that hold none.
LOOSE = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=6)


def totals(counts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    summed = Counter[int]()
    for number, count in counts:
        summed[number] += count
    return sorted((number, count) for number, count in summed.items() if count)


@given(st.lists(LOOSE, max_size=3))
def test_bins_that_are_told_more_than_once_are_added_up(several: list[list[tuple[int, int]]]) -> None:
    assert add_counts(several) == totals([one for counts in several for one in counts])


@given(LOOSE, LOOSE, st.randoms())
def test_what_came_to_bins_that_are_told_more_than_once(
    earlier: list[tuple[int, int]], more: list[tuple[int, int]], random: Any
) -> None:
    later = [*earlier, *more]
    random.shuffle(later)
    assert subtract_counts(later, earlier) == subtract_counts(totals(later), earlier) == totals(more)


def test_counts_below_nothing_are_not_believed() -> None:
    with pytest.raises(Fallen):
        subtract_counts([(1, -2)], [])
    with pytest.raises(Fallen):
        subtract_counts([(1, 2), (1, 3)], [(1, 6)])


@settings(max_examples=20, deadline=None)
@given(st.lists(entries(), max_size=3))
def test_what_is_written_is_read(several: list[Entry]) -> None:
    evidence = Evidence("flights", [Process("one", 61.5, several)])
    assert read_evidence(msgspec.json.encode(evidence)) == evidence


def by_key(entry: Entry, counts: list[int]) -> Entry:
    """With values of first requests told."""
    (histogram,) = entry.outputs.values()
    keys = [*counts, *[0] * (len(histogram.counts) - len(counts))]
    return msgspec.structs.replace(entry, outputs={"scores.late": msgspec.structs.replace(histogram, keys=keys)})


def test_what_an_older_transformer_tells_is_added_to_what_a_later_one_does(entry: Callable[..., Entry]) -> None:
    old, new = entry(5), by_key(entry(7), [3])
    for several in ([old, new], [new, old]):
        total = added(several).outputs["scores.late"]
        assert (total.counts, total.keys) == ([0, 12, 12, 0, 0, 0], [3, 0, 0, 0, 0, 0])
    # A reader of the release before has left out what it did not know: all of that came since.
    assert difference(new, old).outputs["scores.late"].keys == [3, 0, 0, 0, 0, 0]


def test_a_count_that_falls_is_seen(entry: Callable[..., Entry]) -> None:
    for earlier, later in (
        (entry(5), entry(4)),
        (entry(5, failed=1), entry(6)),
        (entry(5, shadow=True), msgspec.structs.replace(entry(5, shadow=True), paired=None)),
        (entry(5), msgspec.structs.replace(entry(5), outputs={})),
        (entry(0), msgspec.structs.replace(entry(0), outputs={"scores.late": Histogram(BINS, [0] * 5)})),
        (by_key(entry(5), [3]), by_key(entry(6), [2])),
        (by_key(entry(5), [3]), entry(6)),
    ):
        with pytest.raises(Fallen):
            difference(later, earlier)


def test_counts_of_other_bins_are_left_out(entry: Callable[..., Entry]) -> None:
    other = msgspec.structs.replace(entry(7), outputs={"scores.late": Histogram(BINS, [7] * 5)})
    total = added([entry(3), other])
    assert (total.requests, total.outputs["scores.late"].counts) == (10, [0, 3, 3, 0, 0, 0])

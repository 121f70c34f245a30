"""A sample of callers: it adds up over processes and looks, knows few callers exactly and many well enough, and names none."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.evidence.adding import Fallen, added, callers_since, difference
from penstock.evidence.callers import MOST, Callers, CallerSums, Sample, Watched
from penstock.evidence.callers import added as added_samples
from penstock.evidence.document import Entry, Evidence, Process, read_evidence
from penstock.evidence.ledger import Ledger

KEYS = st.lists(st.integers(0, 300).map(lambda number: f"user-{number}".encode()), max_size=400)
NAMES: dict[str, Callable[[int], str]] = {
    "numbers": str,
    "padded": lambda number: f"customer-{number:08d}",
    "mail": lambda number: f"someone{number}@shop.example",
    "hex": lambda number: f"{number * 2654435761 % 2**32:08x}",
}


def sample(keys: list[bytes]) -> Sample:
    watched = Watched()
    for key in keys:
        watched.count(key)
    return watched.told()


def entry(callers: Callers | None) -> Entry:
    return Entry("sha256:x", 1, keys=1000, requests=1000, callers=callers)


@settings(max_examples=60, deadline=None)
@given(KEYS, KEYS, KEYS)
def test_a_sum_of_samples_is_the_sample_of_all_that_came(first: list[bytes], second: list[bytes], third: list[bytes]) -> None:
    one, two, three = sample(first), sample(second), sample(third)
    whole = sample(first + second + third)
    assert added_samples([one, two, three]) == whole
    assert added_samples([added_samples([three, one]), two]) == added_samples([one, added_samples([two, three])]) == whole
    # Who came once more is no other caller.
    twice = added_samples([whole, whole])
    assert (twice.level, twice.distinct) == (whole.level, whole.distinct)
    assert [mark for mark, _ in twice.counts] == [mark for mark, _ in whole.counts]


@settings(max_examples=60, deadline=None)
@given(KEYS, KEYS)
def test_what_came_between_two_looks_is_what_was_missing(before: list[bytes], after: list[bytes]) -> None:
    sums = CallerSums()
    looks = []
    for keys in (before, after):
        for number, key in enumerate(keys):
            sums.count(key)
            if number % 7 == 0:
                sums.fail(key)
            if sums.mark is not None:
                sums.take(sums.mark, number % 5)
                sums.answer("label", [sums.mark], [number % 3])
        looks.append(entry(sums.told()))
    since = difference(looks[1], looks[0])
    assert added([looks[0], since]) == looks[1]
    assert added([since, looks[0]]).callers == looks[1].callers
    assert (looks[1].callers.came if looks[1].callers else Sample()) == sample(before + after)


@given(st.dictionaries(st.integers(0, 10**6), st.integers(1, 50), min_size=1, max_size=MOST))
def test_of_few_callers_all_is_known(came: dict[int, int]) -> None:
    told = sample([str(number).encode() for number, count in came.items() for _ in range(count)])
    total = sum(came.values())
    # Two of them have the same mark once in a few thousand such tests.
    if len(told.counts) == len(came):
        assert (told.level, told.distinct, told.total) == (0, len(came), total)
        assert told.others == pytest.approx(sum(count**2 for count in came.values()) / total - 1)


@pytest.mark.parametrize("named", NAMES.values(), ids=NAMES)
def test_of_many_callers_it_is_known_about_how_many_they_are_and_how_often_one_comes(named: Callable[[int], str]) -> None:
    for size in (60, 300, 2_000, 30_000):
        keys = [named(number).encode() for number in range(7, 7 + size)]
        once = sample(keys)
        assert MOST // 8 < len(once.counts) <= MOST
        assert 0.4 * size < once.distinct < 2.0 * size
        # A key for each request: none has another, exactly.
        assert once.others == 0.0
        assert sample(keys * 3).others == pytest.approx(2.0)


def test_estimates_of_how_many_are_right_on_average() -> None:
    found = [sample([f"{run}/{number}".encode() for number in range(1000)]).distinct for run in range(60)]
    assert sum(found) / len(found) == pytest.approx(1000, rel=0.1)
    assert (sum((one / 1000 - 1) ** 2 for one in found) / len(found)) ** 0.5 < 0.3


def test_a_key_cannot_be_read_off_its_mark() -> None:
    marks = Counter(Watched().count(f"someone{number}@shop.example".encode()) for number in range(200_000))
    assert max(mark for mark in marks if mark is not None) < 17 << 16
    # Of so few names most have theirs with another; there are billions.
    assert sum(number for number in marks.values() if number > 1) > 100_000


def test_more_than_can_be_told_apart_are_none() -> None:
    watched = Watched()
    watched.level, watched.mask = 17, 0xFFFF
    assert [watched.count(str(number).encode()) for number in range(200_000)] == [None] * 200_000
    assert (watched.told().distinct, watched.told().others) == (0.0, 0.0)


def test_how_alike_a_caller_s_requests_are_is_told_of_two_that_follow_each_other() -> None:
    sums = CallerSums()
    for minute in range(4):
        for key in (b"anna", b"bert"):
            sums.count(key)
            assert sums.mark is not None
            sums.take(sums.mark, 40 if key == b"anna" else 50 + minute)
            sums.answer("label", [sums.mark], [0 if key == b"anna" else minute])
    told = sums.told()
    assert told is not None
    assert told.alike == {"label": (6, 3)}
    assert (told.quicker, told.slower) == ([(40, 3), (50, 1), (51, 1), (52, 1)], [(40, 3), (51, 1), (52, 1), (53, 1)])


def test_what_is_kept_of_the_last_requests_is_bounded() -> None:
    sums = CallerSums()
    for number in range(20_000):
        sums.count(str(number).encode())
        if sums.mark is not None:
            sums.take(sums.mark, 1)
            sums.answer("label", [sums.mark], [1])
    assert max(len(sums._bins), *map(len, sums._codes.values())) <= 2 * MOST
    assert len(msgspec.json.encode(sums.told())) < 1000


def test_a_process_whose_callers_are_fewer_than_before_is_not_believed() -> None:
    few, more = Callers(2, Sample(0, [(1, 2)])), Callers(3, Sample(0, [(1, 3)]))
    assert callers_since(more, few) == Callers(1, Sample(0, [(1, 1)]))
    for later, earlier in ((few, more), (None, few), (Callers(3), few), (few, Callers(2, Sample(1, [])))):
        with pytest.raises(Fallen):
            callers_since(later, earlier)


def told(incarnation: str, one: Entry) -> Evidence:
    return Evidence("flights", [Process(incarnation, 600.0, [one])])


def test_either_release_reads_what_the_other_tells() -> None:
    class Before(msgspec.Struct, omit_defaults=True):
        bundle: str
        keys: int = 0

    body = msgspec.json.encode(told("a", entry(Callers(2, Sample(0, [(1, 2)]), alike={"label": (4, 3)}))))
    assert read_evidence(body).format_version == 1
    assert msgspec.json.decode(body)["processes"][0]["entries"][0]["callers"] == {
        "keyed": 2,
        "came": {"counts": [[1, 2]]},
        "failed": {},
        "alike": {"label": [4, 3]},
    }
    assert msgspec.convert(msgspec.json.decode(body)["processes"][0]["entries"][0], Before) == Before("sha256:x", 1000)
    # One of a release that tells none, and one that tells, add up to what was told.
    ledger = Ledger()
    ledger.take([told("old", entry(None)), told("new", entry(Callers(2, Sample(0, [(1, 2)]))))])
    ledger.take([told("old", entry(None)), told("new", entry(Callers(5, Sample(0, [(1, 5)]))))])
    assert ledger.totals[0].callers == Callers(5, Sample(0, [(1, 5)]))


@pytest.mark.parametrize("strange", [Sample(18, []), Sample(0, [(17 << 16, 1)]), Sample(-1, [])])
def test_levels_and_marks_that_nobody_has_are_refused(strange: Any) -> None:
    with pytest.raises(InvalidInput):
        read_evidence(msgspec.json.encode(told("a", entry(Callers(1, strange)))))

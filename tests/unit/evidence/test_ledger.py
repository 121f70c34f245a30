"""The reader's memory against pods that die, start, lie, and are asked by a reader that dies itself."""

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.evidence import ledger as module
from penstock.evidence.document import Entry, Evidence, Process, read_evidence
from penstock.evidence.ledger import Ledger

Make = Callable[..., Entry]
Pod = Callable[..., Evidence]


def requests(ledger: Ledger, digest: str) -> int:
    return sum(entry.requests for entry in ledger.entries(digest))


def test_a_dead_process_keeps_what_was_read_of_it(entry: Make, pod: Pod, digest: str) -> None:
    ledger = Ledger()
    ledger.take([pod("a", entry(10)), pod("b", entry(5))])
    ledger.take([pod("b", entry(8)), pod("a2", entry(2))])
    ledger.take([pod("b", entry(8)), pod("a2", entry(3))])
    assert requests(ledger, digest) == 10 + 8 + 3


def test_a_young_process_is_looked_at_only(entry: Make, pod: Pod, digest: str) -> None:
    ledger = Ledger()
    assert ledger.take([pod("a", entry(10), age_s=59)]) == []
    new = ledger.take([pod("a", entry(25), age_s=61)])
    assert [one.requests for one in new] == [15]
    assert requests(ledger, digest) == 15


def test_a_process_that_says_nothing_for_a_while_is_not_counted_again(entry: Make, pod: Pod, digest: str) -> None:
    ledger = Ledger()
    ledger.take([pod("a", entry(10))])
    ledger.take([])
    ledger.take([pod("a")])
    ledger.take([pod("a", entry(12))])
    assert requests(ledger, digest) == 12


def test_a_pod_that_answers_zeros_takes_nothing_away(entry: Make, pod: Pod, digest: str) -> None:
    ledger = Ledger()
    ledger.take([pod("a", entry(10)), pod("b", entry(4))])
    ledger.take([pod("a", entry(0)), pod("b", entry(6))])
    ledger.take([pod("a", entry(12)), pod("b", entry(6))])
    assert (requests(ledger, digest), ledger.doubted) == (18, 1)


def test_what_came_of_a_process_came_since_it_was_last_believed(entry: Make, pod: Pod) -> None:
    ledger, ages = Ledger(), []
    for age_s, told in ((100, 10), (106, 0), (112, 12), (118, None), (124, 14)):
        ledger.take([pod("a", *([] if told is None else [entry(told)]), age_s=age_s)])
        ages.append(ledger.known["a"].age_s)
    assert ages == [100, 100, 112, 112, 124]


def test_the_same_answer_twice_is_counted_once(entry: Make, pod: Pod, digest: str) -> None:
    ledger = Ledger()
    ledger.take([pod("a", entry(10)), pod("a", entry(10))])
    ledger.take([pod("a", entry(10))])
    assert requests(ledger, digest) == 10


def test_bundles_revisions_and_modes_are_apart(entry: Make, pod: Pod, digest: str) -> None:
    ledger = Ledger()
    ledger.take([pod("a", entry(1, revision=1), entry(2, revision=2), entry(4, revision=2, shadow=True))])
    assert [(e.revision, e.requests) for e in ledger.entries(digest)] == [(1, 1), (2, 2)]
    assert [e.requests for e in ledger.entries(digest, shadow=True)] == [4]
    ledger.forget({"sha256:other"})
    assert ledger.totals == []


def test_arms_of_a_bundle_are_apart_and_are_read_again_as_they_were(entry: Make, pod: Pod) -> None:
    ledger = Ledger()
    for requests in (1, 3):
        apart = msgspec.structs.replace(entry(10 * requests), arm="baseline")
        ledger.take([read_evidence(msgspec.json.encode(pod("a", entry(requests), apart)))])
    ledger = msgspec.convert(msgspec.to_builtins(ledger), Ledger)
    assert [(e.arm, e.requests) for e in ledger.totals] == [("", 3), ("baseline", 30)]


def test_features_may_be_left_out(entry: Make, pod: Pod, digest: str) -> None:
    ledger = Ledger()
    ledger.take([pod("a", entry(3))], with_features=False)
    assert ledger.entries(digest)[0].features == {}
    assert ledger.known["a"].entries[0].features == {}


def test_the_longest_silent_is_forgotten_first(entry: Make, pod: Pod, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_PROCESSES", 2)
    ledger = Ledger()
    ledger.take([pod("a", entry(1))])
    ledger.take([pod("b", entry(1))])
    ledger.take([pod("c", entry(1))])
    assert sorted(ledger.known) == ["b", "c"]


def test_of_more_processes_than_are_remembered_none_is_counted_twice(
    entry: Make, pod: Pod, digest: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "MAX_PROCESSES", 2)
    ledger = Ledger()
    for told in (1, 2, 3):
        ledger.take([pod(name, entry(told)) for name in "abc"])
    assert (requests(ledger, digest), ledger.doubted) == (3 + 3, 3)
    # One is silent, and the third has its place.
    ledger.take([pod("c", entry(4)), pod("a", entry(4))])
    assert requests(ledger, digest) == 4 + 3 + 4


STEPS = st.lists(st.tuples(st.sampled_from(["serve", "read", "kill", "restart reader", "lie"]), st.integers(0, 2)), max_size=40)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_nothing_is_counted_twice_and_nothing_read_is_lost(steps: list[tuple[str, int]]) -> None:
    """Three pods serve, die and lie as they like: the totals are what each incarnation had when it was last read truly."""
    served, names, kills = [0, 0, 0], ["a0", "b0", "c0"], 0
    read: dict[str, int] = {}
    kept = msgspec.json.encode(Ledger())
    for what, at in steps:
        ledger = msgspec.json.decode(kept, type=Ledger)
        if what == "serve":
            served[at] += 3
        elif what == "kill":
            kills += 1
            served[at], names[at] = 0, f"{names[at][0]}{kills}"
        elif what == "restart reader":
            # It had asked, and died before it wrote.
            ledger.take([_said(names[at], served[at])])
        else:
            pods = [
                _said(name, 0 if what == "lie" and i == at else n) for i, (name, n) in enumerate(zip(names, served, strict=True))
            ]
            ledger.take(pods)
            read.update({pod.processes[0].incarnation: pod.processes[0].entries[0].requests for pod in pods if _more(pod, read)})
            kept = msgspec.json.encode(ledger)
    totals = msgspec.json.decode(kept, type=Ledger).entries("sha256:x")
    assert sum(entry.requests for entry in totals) == sum(read.values())


def _said(incarnation: str, requests: int) -> Evidence:
    return Evidence("flights", [Process(incarnation, 600.0, [Entry("sha256:x", 1, requests=requests, keys=requests)])])


def _more(pod: Evidence, read: dict[str, int]) -> bool:
    process = pod.processes[0]
    return process.entries[0].requests > read.get(process.incarnation, 0)

"""A pod's answers one after the other: read as each by itself, and what did not change not again."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from penstock.errors import InvalidInput
from penstock.evidence.document import FORMAT_VERSION, Entry, Evidence, Histogram, Process, read_evidence
from penstock.evidence.rereading import Rereader

Make = Callable[..., Entry]
Pod = Callable[..., Evidence]


def test_each_answer_is_read_as_by_itself_and_an_entry_that_is_as_it_was_is_the_same(entry: Make, pod: Pod) -> None:
    reader, over = Rereader(), entry(20, failed=1, revision=1)
    told = [pod("a", over, entry(requests, revision=2, shadow=True)) for requests in (5, 5, 7)]
    bodies = [msgspec.json.encode(msgspec.structs.replace(one, route={"revision": 2})) for one in told]
    found = [reader.read(body) for body in bodies]
    assert found == [read_evidence(body) for body in bodies]
    first, second, third = (one.processes[0].entries for one in found)
    assert first[0] is second[0] is third[0]
    assert first[1] is second[1]
    # Kept is what the last answer had.
    reader.read(msgspec.json.encode(pod("a")))
    assert reader.read(bodies[2]).processes[0].entries[0] is not third[0]


def test_processes_are_apart_however_alike_they_are(entry: Make, pod: Pod) -> None:
    both = [*pod("a", entry(3)).processes, *pod("b", entry(3), age_s=5.0).processes]
    body = msgspec.json.encode(Evidence("flights", both))
    assert Rereader().read(body) == read_evidence(body)


def test_every_field_of_an_answer_and_of_a_process_is_read() -> None:
    # A value of its own for each, so that a field that is added to the document and forgotten in the reading is missed.
    values = {str: "a", float: 61.5, int: FORMAT_VERSION, Any: {"revision": 2}}

    def filled(kind: type[Any], **given: Any) -> Any:
        rest = {field.name: values[field.type] for field in msgspec.structs.fields(kind) if field.name not in given}
        return kind(**rest, **given)

    told = filled(Evidence, processes=[filled(Process, entries=[])])
    assert Rereader().read(msgspec.json.encode(told)) == told


def test_what_cannot_be_read_is_refused_and_the_next_answer_is_not(entry: Make, pod: Pod) -> None:
    reader, good = Rereader(), msgspec.json.encode(pod("a", entry(3)))
    wrong = entry(3)
    wrong.outputs["scores.late"] = Histogram(wrong.outputs["scores.late"].bins, [1])
    newer = msgspec.structs.replace(pod("a", entry(3)), format_version=2)
    for bad in (
        b"[]",
        b"{",
        good.replace(b'"requests":3', b'"requests":-3'),
        *map(msgspec.json.encode, (pod("a", wrong), newer)),
    ):
        with pytest.raises(InvalidInput):
            reader.read(bad)
        assert reader.read(good) == read_evidence(good)

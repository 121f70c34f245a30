"""Dead letters counted: against a list of them, whatever the topic cleans away; and what stays bounded."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.queues.counts import CHUNK_OFFSETS, MOST_CHUNKS, NEWEST, LetterCounts, Marks, label_of, place_text
from penstock_transformer.worker.dead_letters import Letter, read_letter

REASONS = ["invalid_input", "crashed", "too_large", "whatever somebody wrote", ""]


def letter(partition: int, offset: int, reason: str = "invalid_input", value: bytes = b"v") -> Letter:
    headers = (("penstock-reason", reason.encode()), ("penstock-message", b"m"))
    return read_letter(Record(Partition("m.dead-letters", partition), offset, 1, b"k", value, headers))


steps = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 3 * CHUNK_OFFSETS), st.sampled_from(REASONS), st.integers(0, 20)), max_size=60
)


@given(steps)
def test_what_is_counted_is_what_is_kept_give_or_take_a_chunk(given: Any) -> None:
    counts = LetterCounts()
    kept: dict[int, list[tuple[int, str]]] = {0: [], 1: [], 2: []}
    ends, firsts = [0, 0, 0], [0, 0, 0]
    for number, distance, reason, cleaned in given:
        offset = ends[number] + distance - 1
        ends[number] = offset + 1
        counts.add(letter(number, offset, reason))
        counts.add(letter(number, offset, reason))  # read again after a fault: counted once
        kept[number].append((offset, label_of(reason or "unknown") if reason else label_of("")))
        if cleaned == 0:
            firsts[number] = offset
        counts.begins(number, firsts[number], ends[number])
        assert counts.next_of(number) == ends[number]
    least, most = Counter[str](), Counter[str]()
    for number, letters in kept.items():
        for offset, reason in letters:
            least[reason] += offset >= firsts[number]
            most[reason] += offset >= firsts[number] - CHUNK_OFFSETS
    found = Counter(counts.by_reason())
    assert least <= found <= most


def test_memory_is_bounded_and_nothing_is_lost_from_the_sum() -> None:
    counts = LetterCounts()
    many = MOST_CHUNKS + 100
    for at in range(many):
        counts.add(letter(0, at * CHUNK_OFFSETS, value=b"x" * 1000))
    assert counts.by_reason() == {"invalid_input": many}
    assert len(counts._chunks[0]) == MOST_CHUNKS
    newest = list(counts.newest())
    assert len(newest) == NEWEST
    assert (newest[0].offset, newest[0].nbytes) == ((many - 1) * CHUNK_OFFSETS, 1000)
    assert not any(isinstance(value, bytes) for value in vars(type(newest[0])).values())


def test_a_topic_that_was_made_anew_is_counted_anew() -> None:
    counts = LetterCounts()
    for at in range(10):
        counts.add(letter(0, at))
    counts.add(letter(1, 0))
    counts.begins(0, 0, 3)
    assert counts.next_of(0) == 0
    assert counts.by_reason() == {"invalid_input": 1}
    assert [entry.place for entry in counts.newest()] == [(1, 0)]


def test_marks_belong_to_the_letter_that_they_were_made_for() -> None:
    marks = Marks(most=3)
    place = place_text("m.dead-letters", 0, 4)
    assert place == "m.dead-letters/0/4"
    marks.add(0, place, "replayed", 17)
    assert (marks.of(place, 17), marks.of(place, 18), marks.totals()) == ("replayed", None, {"replayed": 1})
    marks.add(1, place, None, 0)
    assert (marks.of(place, 17), marks.totals(), marks.next) == (None, {}, 2)
    for at in range(5):
        marks.add(2 + at, str(at), "dropped", 0)
    assert marks.totals() == {"dropped": 3}
    marks.begins(3)
    assert (marks.next, marks.totals()) == (0, {})

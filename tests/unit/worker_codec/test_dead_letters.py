"""Dead letters keep the original byte for byte, whatever it brings, and say why it is there."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.worker.bare_letters import barer
from penstock_transformer.worker.dead_letters import MESSAGE_BYTES, DeadLetters, read_letter

LETTERS = DeadLetters("flights.dead-letters")
OURS = ["penstock-reason", "penstock-message", "penstock-position", "penstock-replayed", "ce_id", "CE_ID", "content-type"]
header_lists = st.lists(st.tuples(st.sampled_from(OURS) | st.text(max_size=10), st.binary(max_size=20)), max_size=8)
originals = st.builds(
    lambda key, value, headers, offset: Record(
        Partition("flights.requests", 2), offset, 1_790_000_000_000, key, value, tuple(headers)
    ),
    st.none() | st.binary(),
    st.none() | st.binary(),
    header_lists,
    st.integers(0, 2**62),
)


def came_back(out, offset=11):
    """A record as a reader of its topic gets it."""
    return Record(Partition(out.topic, out.partition), offset, 1_790_000_000_000, out.key, out.value, out.headers)


@given(originals, st.text(), st.none() | st.text(), st.integers(1, 9))
def test_the_original_comes_back_byte_for_byte(original, message, field, attempts):
    letter = read_letter(came_back(LETTERS.letter(original, "internal", message, field=field, attempts=attempts)))
    assert (letter.key, letter.value, letter.headers) == (original.key, original.value, original.headers)
    assert (letter.reason, letter.attempts, letter.position) == ("internal", attempts, original.position)
    assert not letter.foreign
    assert letter.id


@given(originals, st.integers(1, 4))
def test_a_record_that_fails_again_and_again_keeps_its_id_and_says_where_it_has_been(original, times):
    record, first = original, None
    for again in range(times):
        letter = read_letter(came_back(LETTERS.letter(record, "internal", "why"), offset=again))
        first = first or letter.id
        assert letter.id == first
        assert letter.headers[: len(original.headers)] == original.headers
        out = letter.request("flights.requests")
        assert (out.key, out.value, out.partition) == (original.key, original.value, 2)
        assert out.headers[-1] == ("penstock-replayed", f"flights.dead-letters/2/{again}".encode())
        record = came_back(out, offset=100 + again)


def test_what_it_says(record):
    error = InvalidInput("expected a number", field="rows[0].distance")
    letter = read_letter(came_back(LETTERS.of(record(b"x", ("ce_id", b"abc"), offset=5), error, "abc")))
    assert (letter.id, letter.reason, letter.message, letter.field) == (
        "abc",
        "invalid_input",
        "expected a number",
        "rows[0].distance",
    )
    assert (letter.position, letter.place, letter.attempts) == ("flights.requests/3/5", "flights.dead-letters/3/11", 1)
    assert letter.failed_s is not None
    assert not letter.added_id


def test_long_words_are_cut_between_characters(record):
    letter = read_letter(came_back(LETTERS.letter(record(), "internal", "é" * 5000 + "\ud800")))
    assert letter.message == "é" * (MESSAGE_BYTES // 2)


def test_a_record_that_does_not_say_why_it_is_there_is_foreign(record):
    letter = read_letter(record(b"x", ("a", b"b")))
    assert (letter.foreign, letter.reason, letter.headers) == (True, "unknown", (("a", b"b"),))


@given(header_lists, st.none() | st.binary())
def test_any_record_can_be_read(record, headers, value):
    letter = read_letter(record(value, *headers))
    assert letter.id
    assert letter.request("flights.requests").value == value


def test_what_the_topic_did_not_take_is_named(record):
    out = LETTERS.letter(record(b"x" * 100, ("a", b"b")), "too_large", "why")
    assert read_letter(came_back(out)).omitted == ()
    assert read_letter(came_back(barer(out, 1))).omitted == ("value",)
    assert set(read_letter(came_back(barer(out, 2))).omitted) == {"value", "headers", "key"}

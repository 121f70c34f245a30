"""Ids, priorities, stages, and which ending a prediction takes."""

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_transformer.predictions.port import fitting
from penstock_transformer.predictions.resource import ENDED, Ending, State, changed_by, new_id, priority_of, stage


def test_ids_are_uuids_of_version_7_in_the_order_of_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_id() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert len(set(ids)) == 1000
    for text in ids:
        found = uuid.UUID(text)
        assert (found.version, found.variant, str(found)) == (7, uuid.RFC_4122, text)
        assert before <= found.int >> 80 <= after
    milliseconds = [uuid.UUID(text).int >> 80 for text in ids]
    assert milliseconds == sorted(milliseconds)


@pytest.mark.parametrize(
    ("value", "priority"),
    [(b"0", 0), (b"-5", -5), (b" 7 ", 7), (b"99999999", 32767), (b"-99999999", -32768), (b"", 0), (b"high", 0), (b"1.5", 0)],
)
def test_the_priority_is_read_of_the_headers(value: bytes, priority: int) -> None:
    assert priority_of((("a", b"1"), ("penstock-priority", value))) == priority
    assert priority_of(()) == 0


def test_the_first_ending_counts_but_for_a_replay() -> None:
    for state in State:
        first = Ending("x", State.SUCCEEDED)
        assert changed_by(state, first) == (state not in ENDED)
        replay = Ending("x", State.SUCCEEDED, replayed=True)
        assert changed_by(state, replay) == (state not in ENDED or state is State.FAILED)


def test_stages_go_forward() -> None:
    assert [stage(state) for state in (State.STARTING, State.PROCESSING, *ENDED)] == [0, 1, 2, 2, 2]


@given(st.lists(st.integers(0, 100), min_size=1), st.integers(0, 300))
def test_what_fits_is_a_prefix_and_never_nothing(sizes: list[int], nbytes: int) -> None:
    count = fitting(sizes, nbytes)
    assert 1 <= count <= len(sizes)
    assert count == 1 or sum(sizes[:count]) <= nbytes
    assert count == len(sizes) or sum(sizes[: count + 1]) > nbytes


def test_nothing_fits_into_nothing() -> None:
    assert fitting([], 10) == 0

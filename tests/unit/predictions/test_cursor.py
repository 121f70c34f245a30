"""Cursors: what was given comes back, and nothing else is taken."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock_transformer.predictions.cursor import cursor_after, sequence_before


@given(st.integers(0, 2**63 - 1))
def test_a_cursor_comes_back(sequence: int) -> None:
    assert sequence_before(cursor_after(sequence)) == sequence


def test_no_cursor_is_the_first_page() -> None:
    assert sequence_before(None) is None


@given(st.text())
def test_what_is_no_cursor_is_refused_by_its_name(text: str) -> None:
    assume(not text.startswith("cDE6"))
    with pytest.raises(InvalidInput) as raised:
        sequence_before(text)
    assert raised.value.field == "cursor"


@pytest.mark.parametrize("text", ["", "cDE6", "cDE6LTE", "AAAA", "cDE6MQ==", "cDI6MQ", "é"])
def test_near_misses(text: str) -> None:
    if text == "cDE6MQ==":
        assert sequence_before(text) == 1
    else:
        with pytest.raises(InvalidInput):
            sequence_before(text)

"""How a caller's values are shown in messages."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.wording import describe


@pytest.mark.parametrize(
    "value, shown",
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        ('a\n"b', '"a\\n\\"b"'),
        ("é", '"\\xe9"'),
        ({"a": 1}, "an object"),
        ([1, 2], "[1, 2]"),
        ([True], "an array of 1"),
        ([[1]], "an array of 1"),
        ([0] * 17, "an array of 17"),
        (10**100, "1" + "0" * 75 + " ..."),
    ],
)
def test_describe(value: Any, shown: str) -> None:
    assert describe(value) == shown


@given(st.text() | st.floats() | st.integers() | st.lists(st.integers()))
def test_short_and_printable(value: Any) -> None:
    text = describe(value)
    assert text.isprintable()
    assert len(text) <= 1000

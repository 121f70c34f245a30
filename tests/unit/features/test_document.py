"""YAML without surprises: what is read, what is refused and where, and that what is written reads back."""

import math
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import InvalidInput, TooLarge
from penstock.features.document import read_document, write_document
from penstock.features.durations import read_duration, write_duration

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.sampled_from(
        [
            "NO",
            "yes",
            "on",
            "1e3",
            "0x10",
            "1_000",
            "12:30",
            "2020-01-01",
            ".inf",
            ".nan",
            "~",
            "null",
            "=",
            "<<",
            "- a",
            "'",
            "9E",
        ]
    ),
)
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)), max_leaves=12
)


@given(st.dictionaries(st.text(), values, max_size=4))
@example({"a": "1e3", "b": 1e300, "c": 1e-7, "d": -math.inf, "e": "\x85\u2028\ufeff\x00\n", "f": 1.0})
def test_what_is_written_reads_back(document: dict[str, Any]) -> None:
    try:
        text = write_document(document)
    except UnicodeEncodeError:
        return
    read = read_document(text, "doc")
    assert read == document
    assert repr(read) == repr(document)


def test_nan_reads_back() -> None:
    assert math.isnan(read_document(write_document({"a": math.nan}), "doc")["a"])


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.one_of(st.text(st.characters(codec="utf-8")), st.integers(), st.booleans()), max_size=3
    )
)
def test_other_yaml_readers_read_the_same(document: dict[str, Any]) -> None:
    assert yaml.safe_load(write_document(document)) == document


def test_scalars_are_of_the_core_schema() -> None:
    text = "a: NO\nb: on\nc: 12:30\nd: 2020-01-01\ne: 9E\nf: 010\ng: 1e3\nh: true\ni: ~\nj:\nk: '7'\nl: .5\nm: TRUE\nn: tRUE"
    assert read_document(text, "doc") == {
        "a": "NO", "b": "on", "c": "12:30", "d": "2020-01-01", "e": "9E", "f": 10, "g": 1000.0, "h": True, "i": None,
        "j": None, "k": "7", "l": 0.5, "m": True, "n": "tRUE",
    }  # fmt: skip


BOMB = "a: &a [x, x]\n" + "\n".join(f"{c}: &{c} [{', '.join(['*' + chr(ord(c) - 1)] * 9)}]" for c in "bcdefgh")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "doc line 1: a: anchors and aliases are not allowed"),
        ("a: *b", "anchors and aliases are not allowed"),
        ("a: !!python/object/apply:os.system [ls]", "tags are not allowed"),
        ("a: !!binary aGk=", "tags are not allowed"),
        ("a: 1\nb: 2\na: 3", "doc line 3: a: given twice"),
        ("b:\n  c: {d: 1, d: 2}", "b.c.d: given twice"),
        ("[1, 2]", "expected a mapping of fields, got a list"),
        ("", "expected a mapping of fields, got nothing"),
        ("a: [", "not YAML"),
        ("a: b: c", "not YAML"),
        ("a: 1\n---\nb: 2", "expected one document"),
        ("{[1]: 2}", "expected a name before the colon"),
        ("a: \x01", "not YAML"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_document(text, "doc")
    assert said in str(caught.value)


def test_depth_and_length_are_limited() -> None:
    with pytest.raises(TooLarge, match="nested more than"):
        read_document("a: " + "[" * 5000 + "]" * 5000, "doc")
    with pytest.raises(TooLarge, match="the limit is"):
        read_document("a" * (65 << 20), "doc")


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(InvalidInput, match="expected UTF-8"):
        read_document(b"a: \xff", "doc")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("400d", 34560000.0), ("3h", 10800.0), ("1d12h", 129600.0), ("250ms", 0.25), ("1.5h", 5400.0), ("2w", 1209600.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration(text, "f") == seconds
    assert read_duration(write_duration(seconds), "f") == seconds


@pytest.mark.parametrize("value", [3, 3.0, "3", "3 h", "h", "-3h", "", "0h", None, "3y", "1h30", "1" * 50 + "h", True])
def test_what_is_no_duration(value: Any) -> None:
    with pytest.raises(InvalidInput, match="expected a duration such as") as caught:
        read_duration(value, "sets.planes.maxAge")
    assert caught.value.field == "sets.planes.maxAge"


@given(st.integers(1, 10**12))
def test_durations_read_back(milliseconds: int) -> None:
    assert read_duration(write_duration(milliseconds / 1000), "f") == pytest.approx(milliseconds / 1000, rel=1e-12)

"""Trace contexts as W3C writes them: read, continued, made anew, and never trusted."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
hexes = st.text("0123456789abcdef", min_size=1)


def test_a_child_keeps_trace_and_flags_and_has_a_span_of_its_own():
    made = [tracing.child(f"00-{TRACE}-00f067aa0ba902b7-01".encode()) for _ in range(10)]
    assert len(set(made)) == 10
    for header in made:
        assert header is not None
        assert FORM.fullmatch(header)
        assert tracing.trace_id(header) == TRACE
        assert header.endswith("-01")
        assert "00f067aa0ba902b7" not in header


def test_a_later_version_is_read_as_far_as_it_is_known():
    header = tracing.child(f"cc-{TRACE}-00f067aa0ba902b7-09-what-comes".encode())
    assert header is not None
    assert FORM.fullmatch(header)
    assert header.endswith("-01")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"00",
        f"ff-{TRACE}-00f067aa0ba902b7-01".encode(),
        f"00-{'0' * 32}-00f067aa0ba902b7-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-00f067aa0ba902b7-01-more".encode(),
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01".encode(),
        f"00-{TRACE}-00f067aa0ba902b7-0g".encode(),
        f"00-{TRACE}-00f067aa0ba902b7-1\n".encode(),
    ],
)
def test_a_malformed_header_counts_as_absent(header):
    assert tracing.child(header) is None


@given(st.binary(max_size=80) | hexes.map(lambda text: f"00-{text}-{text}-01".encode()))
def test_whatever_comes_the_answer_is_well_formed_or_none(header):
    made = tracing.child(header)
    assert made is None or FORM.fullmatch(made)


def test_a_new_trace_is_well_formed():
    assert FORM.fullmatch(tracing.new())
    assert tracing.new() != tracing.new()

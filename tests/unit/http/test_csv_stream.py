"""CSV in chunks gives what CSV in one piece gives, whatever the chunks and whatever the bytes."""

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock_transformer.http import csv_stream
from penstock_transformer.http.csv_stream import CsvStream, Line


@pytest.fixture(autouse=True)
def every_chunk_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_stream, "_LEAST_BYTES", 1)


def read(*chunks: bytes, longest: int = 10_000) -> list[Line]:
    stream = CsvStream(longest_record=longest)
    return [line for chunk in chunks for line in stream.feed(chunk)] + stream.finish()


def test_lines_are_numbered_by_where_they_begin() -> None:
    body = b'\xef\xbb\xbfa,b\r\n"1\r\n2",3\r\n\r\n4,5'
    assert read(body) == [Line(1, ["a", "b"]), Line(2, ["1\r\n2", "3"]), Line(5, ["4", "5"])]
    assert read(*(bytes([byte]) for byte in body)) == read(body)


def test_a_broken_line_is_its_own_error_and_the_next_is_read() -> None:
    first, broken, last = read(b'a\n"x"y\nb\n')
    assert (first.cells, last.cells, broken.number) == (["a"], ["b"], 2)
    assert broken.error is not None
    assert "broken CSV" in broken.error


def test_a_quote_that_never_ends_is_a_broken_line_at_the_end() -> None:
    assert [line.error is None for line in read(b'a\n"b\nc\n')] == [True, False]


def test_a_record_has_a_limit() -> None:
    with pytest.raises(InvalidInput, match="line 2"):
        read(b"a\n", b'"' + b"x\n" * 60, longest=100)


def test_many_line_breaks_behind_an_open_quote_cost_no_more_than_their_number() -> None:
    assert len(read(b'"' + b"\n" * 200_000, longest=1_000_000)) == 1


cells = st.lists(
    st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), min_size=1), min_size=1, max_size=3)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells, st.lists(st.integers(1, 20), max_size=30))
def test_any_csv_survives_any_cut(rows: list[list[str]], cuts: list[int]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    body = text.getvalue().encode()
    chunks = []
    for cut in cuts:
        chunks.append(body[:cut])
        body = body[cut:]
    read_rows = [line.cells for line in read(*chunks, body)]
    if not (rows and rows[0][0].startswith("\ufeff")):
        assert read_rows == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=30), max_size=8))
def test_any_bytes_are_lines(chunks: list[bytes]) -> None:
    for line in read(*chunks):
        assert line.number >= 1
        assert line.cells or line.error

"""Which form a bulk body has, which its answers get, and the readers that turn chunks into batches."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput, TooLarge, UnsupportedType
from penstock_transformer.http.bulk.batch import BATCH_ROWS, Batch
from penstock_transformer.http.bulk.csv_reader import CsvReader
from penstock_transformer.http.bulk.forms import ARROW, CSV, EVENTS, JSON, NDJSON, form_in, form_out, is_streamed, preferred
from penstock_transformer.http.bulk.json_reader import JsonReader
from penstock_transformer.http.bulk.lines import LineReader
from penstock_transformer.nearest import did_you_mean


@pytest.mark.parametrize(
    "content_type, accept, streamed",
    [
        (None, None, False),
        (b"application/json", b"*/*", False),
        (b"application/json", b"application/json, text/plain", False),
        (b"text/csv", None, False),
        (NDJSON, None, True),
        (b"Application/X-NDJSON; charset=utf-8", b"*/*", True),
        (b"application/jsonl", None, True),
        (ARROW, None, True),
        (b"application/json", EVENTS, True),
        (b"text/csv", b"text/html;q=0.5, application/x-ndjson", True),
    ],
)
def test_a_bulk_request_is_known_by_two_headers(content_type: bytes | None, accept: bytes | None, streamed: bool) -> None:
    headers = {b"content-type": content_type, b"accept": accept}
    assert is_streamed({name: value for name, value in headers.items() if value is not None}) is streamed


@pytest.mark.parametrize(
    "given_form, accept, wanted",
    [
        (NDJSON, None, NDJSON),
        (ARROW, b"*/*", ARROW),
        (CSV, b"application/*", NDJSON),
        (JSON, b"text/event-stream", EVENTS),
        (NDJSON, b"text/html, application/vnd.apache.arrow.stream;q=0.9, */*;q=0.1", ARROW),
        (NDJSON, b"application/vnd.apache.arrow.stream;q=0, application/jsonl", NDJSON),
        (NDJSON, b"text/*", EVENTS),
    ],
)
def test_accept_decides_the_answers_form(given_form: bytes, accept: bytes | None, wanted: bytes) -> None:
    assert form_out({} if accept is None else {b"accept": accept}, given_form) == wanted


def test_what_cannot_be_had_is_refused_by_its_header() -> None:
    with pytest.raises(UnsupportedType) as refused:
        form_out({b"accept": b"image/png"}, NDJSON)
    assert refused.value.field == "Accept"
    with pytest.raises(UnsupportedType) as refused:
        form_in({b"content-type": b"image/png", b"accept": EVENTS})
    assert refused.value.field == "Content-Type"


@given(st.binary(max_size=60))
def test_any_accept_header_is_read(accept: bytes) -> None:
    assert all(isinstance(kind, bytes) for kind in preferred(accept))


def read(reader: Any, body: bytes, cuts: list[int]) -> list[Batch]:
    batches: list[Batch] = []
    last = 0
    for cut in [*sorted(cuts), len(body)]:
        batches += reader.feed(body[last:cut])
        last = max(last, cut)
    return batches + list(reader.finish())


def flat(batches: list[Batch]) -> list[tuple[int, Any]]:
    """Number and row (or fault) of every entry."""
    found: list[tuple[int, Any]] = []
    for batch in batches:
        rows = iter(batch.rows)
        found += [(number, batch.faults[at] if at in batch.faults else next(rows)) for at, number in enumerate(batch.numbers)]
        assert len(batch.numbers) <= BATCH_ROWS
    return found


@given(st.lists(st.sampled_from([b'{"a":1}', b"", b"[1]", b'{"a":', b"  ", b'{"b":"\xc3\xa9"}'])), st.data())
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    body = b"\n".join(lines)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    entries = flat(read(LineReader(), body, cuts))
    assert [number for number, _ in entries] == [number for number, line in enumerate(lines, 1) if line.strip()]
    for number, entry in entries:
        line = lines[number - 1]
        if line in (b"[1]", b'{"a":'):
            assert isinstance(entry, InvalidInput)
        else:
            assert entry == json.loads(line)


def test_a_line_that_is_too_long_is_refused_and_not_held() -> None:
    reader = LineReader(longest=100)
    assert list(reader.feed(b'{"a":1}\n' + b"x" * 90)) != []
    for _ in range(50):
        assert reader.feed(b"x" * 1000) == []
        assert len(reader._rest) <= 1100
    entries = flat([*reader.feed(b'x\n{"a":2}\n' + b"y" * 101), *reader.finish()])
    assert [number for number, _ in entries] == [2, 3, 4]
    assert entries[1][1] == {"a": 2}
    assert "at most 100 bytes" in entries[0][1].message
    assert "at most 100 bytes" in entries[2][1].message


@pytest.mark.parametrize(
    "line, field, said",
    [
        (b'{"b": "x", "a": 1e999}', "a", "number out of range"),
        (b'{"a": [[1, ' + b"9" * 5000 + b"]]}", "a[0][1]", "number out of range"),
        (b'{"a": Infinity}', None, "expected a JSON object: .* at character 7"),
        (b'{"a": NaN, "b": "' + b"x" * 10 + b'"}', None, "expected a JSON object: .* at character 7"),
        (b'{"a": 1e999, "b": "' + b"x" * (1 << 17) + b'"}', None, "expected a JSON object: .* at character"),
        (b"1e999", None, "expected a JSON object: .* at character"),
    ],
)
def test_a_number_that_no_float_holds_is_named_by_its_field(line: bytes, field: str | None, said: str) -> None:
    ((number, error), (_, after)) = flat([*LineReader().feed(b"\n" + line + b'\n{"a": 1}\n')])
    assert (number, error.field, after) == (2, field, {"a": 1})
    assert re.match(said, error.message)


def test_many_lines_of_one_chunk_are_batches_of_a_bounded_size() -> None:
    batches = LineReader().feed(b"{}\n" * 1000)
    assert [len(batch.rows) for batch in batches] == [256, 256, 256, 232]
    heavy = LineReader().feed((b'{"a":"' + b"x" * 600_000 + b'"}\n') * 5)
    assert [len(batch.rows) for batch in heavy] == [2, 2, 1]


def test_csv_rows_are_refused_one_by_one() -> None:
    body = b"a,b\n1,x\n2\ny,x\n3,z\n"
    entries = flat(read(CsvReader({"a": "int64", "b": "string"}), body, [5]))
    assert entries[0] == (2, {"a": 1, "b": "x"})
    assert (entries[1][0], entries[1][1].message) == (3, "expected 2 cells, got 1")
    assert (entries[2][0], entries[2][1].field) == (4, "a")
    assert entries[3] == (5, {"a": 3, "b": "z"})


@pytest.mark.parametrize("body, field", [(b"", "header"), (b"a,q\n1,2\n", "header[1]")])
def test_a_csv_header_that_does_not_fit_is_the_requests_fault(body: bytes, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(CsvReader({"a": "int64"}), body, [])
    assert refused.value.field == field


def test_json_has_its_limits_and_its_options() -> None:
    reader = JsonReader(most_bytes=2000, most_rows=300)
    batches = read(reader, json.dumps({"rows": [{}] * 290, "options": {"data": False}}).encode(), [10, 20])
    assert [batch.numbers[0] for batch in batches] == [0, 256]
    assert reader.options == {"data": False}
    with pytest.raises(TooLarge):
        JsonReader(most_bytes=10, most_rows=3).feed(b"x" * 11)


def test_a_name_that_is_nearly_right_is_asked_about() -> None:
    assert did_you_mean("carier", {"carrier", "origin"}) == "did you mean carrier? expected one of carrier, origin"
    assert did_you_mean("zzz", {"carrier"}) == "expected one of carrier"
    assert did_you_mean("zzz", ()) == "expected one of none"

"""CSV, multipart and image bodies of predict: typed by the bundle, refused by line, row and column."""

import asyncio
import base64
import concurrent.futures
import contextlib
import csv
import io
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock_transformer.http.csv_rows import csv_rows
from penstock_transformer.http.forms import form_rows
from penstock_transformer.http.limits import WayInLimits

CSV = "text/csv"


def form(*parts: tuple[str, str | None, bytes], end: bytes = b"--b--\r\n") -> bytes:
    """A form of (name, file name, data)."""
    out = b""
    for name, file, data in parts:
        given_file = "" if file is None else f'; filename="{file}"'
        out += f'--b\r\nContent-Disposition: form-data; name="{name}"{given_file}\r\n\r\n'.encode() + data + b"\r\n"
    return out + end


FORM = "multipart/form-data; boundary=b"


def test_csv_cells_are_typed_by_the_bundle(client: Any) -> None:
    body = '\ufeffdistance,carrier,stops,night,leaves,tailnum\r\n1.5,"A, ""A""",2,true,1970-01-01T00:01:00Z,N1\r\n'
    body += ",,3.0,0,60,\r\n\r\n"
    assert client.post(body, CSV).status == 200
    assert client.rows() == [
        {"distance": 1.5, "carrier": 'A, "A"', "stops": 2, "night": True, "leaves": 60.0, "tailnum": "N1"},
        {"distance": None, "carrier": None, "stops": 3, "night": False, "leaves": 60, "tailnum": None},
    ]


@pytest.mark.parametrize(
    "body, field, words",
    [
        ("", "header", "empty body"),
        ("distance,\n1,2\n", "header[1]", "empty cell"),
        ("distance,distance\n1,2\n", "header[1]", "twice"),
        ("distance,color\n1,2\n", "header[1]", "unknown column"),
        ("distance,stops\n1,2\n1,2\n1,2\nfar,2\n", "rows[3].distance", "line 5: expected float32"),
        ('carrier,distance\n"a\nb",1\n"c",far\n', "rows[1].distance", "line 4: "),
        ("distance,stops\n1\n", "rows[0]", "line 2: expected 2 cells, got 1"),
        ("distance\n1,2\n", "rows[0]", "line 2: expected 1 cells, got 2"),
        ('distance\n"1\n', "body", "broken CSV"),
        ("stops\n3.5\n", "rows[0].stops", "expected int32"),
        ("stops\n1_000\n", "rows[0].stops", "expected int32"),
        ("stops\n3000000000\n", "rows[0].stops", "from -2147483648"),
        ("night\nperhaps\n", "rows[0].night", "true or false"),
        ("leaves\nyesterday\n", "rows[0].leaves", "ISO 8601"),
        (b"carrier\n\xff\n", None, "UTF-8"),
    ],
)
def test_a_broken_row_is_named_by_line_row_and_column(client: Any, body: Any, field: str | None, words: str) -> None:
    exchange = client.post(body, CSV)
    assert (exchange.status, exchange.answered.get("field")) == (400, field)
    assert words in exchange.answered["detail"]


def test_without_a_spec_cells_are_numbers_if_they_look_like_numbers() -> None:
    assert csv_rows(b"a,b,c,d\n1,2.5,x,\n", None, most_rows=5) == [{"a": 1, "b": 2.5, "c": "x", "d": None}]


def test_lists_and_bytes_in_cells() -> None:
    types = {"l": "list<float32>", "b": "bytes", "u": "map<x>"}
    assert csv_rows(b'l,b\n"[1,2]",QUI=\n', types, most_rows=5) == [{"l": [1, 2], "b": b"AB"}]
    for body in (b"l\n3\n", b"b\n!\n", b"u\n1\n"):
        with pytest.raises(InvalidInput):
            csv_rows(body, types, most_rows=5)


def test_csv_has_a_limit_of_rows(small_client: Any) -> None:
    assert small_client.post_and_wait("distance\n1\n2\n3\n4\n", CSV).status == 413


@pytest.mark.parametrize(
    "body", ["distance\n" + "\n" * 4, "\n" * 5 + "distance\n1\n", "distance\r\nfar\r\n1\r\n2\r\n3\r\n", "\r" * 6]
)
def test_blank_lines_count_and_too_many_lines_are_refused_before_any_value(small_client: Any, body: str) -> None:
    exchange = small_client.post_and_wait(body, CSV) if len(body) > 10 else small_client.post(body, CSV)
    assert (exchange.status, exchange.answered["field"]) == (413, "rows")
    assert not small_client.transformer.requests


def test_line_breaks_within_quotes_are_no_rows(small_client: Any) -> None:
    assert small_client.post_and_wait('carrier\n"a\n\n\n\nb"\nc\n\n', CSV).status == 200
    assert small_client.rows() == [{"carrier": "a\n\n\n\nb"}, {"carrier": "c"}]


def test_a_large_body_is_parsed_elsewhere_and_answered_all_the_same(small_client: Any) -> None:
    assert small_client.post_and_wait("distance\n1.5\n", CSV).status == 200
    assert small_client.rows() == [{"distance": 1.5}]
    exchange = small_client.post_and_wait("distance\nfar away\n", CSV)
    assert (exchange.status, exchange.answered["field"]) == (400, "rows[0].distance")


def test_parsing_is_bounded(small_client: Any) -> None:
    """While one large body is parsed, the next is told to come back."""

    async def main() -> tuple[Any, Any]:
        hold = threading.Event()
        pool = concurrent.futures.ThreadPoolExecutor(1)
        asyncio.get_running_loop().set_default_executor(pool)
        pool.submit(hold.wait)
        first = small_client.post("distance\n1.5\n", CSV)
        second = small_client.post("distance\n2.5\n", CSV)
        hold.set()
        async with asyncio.timeout(10):
            await first.done.wait()
        return first, second

    first, second = asyncio.run(main())
    assert (first.status, second.status) == (200, 429)


def test_a_fault_of_ours_in_a_thread_is_an_answer_too(small_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock_transformer.http.predict.csv_rows", lambda *_, **__: 1 / 0)
    exchange = small_client.post_and_wait("distance\n1.5\n", CSV)
    assert exchange.status == 500
    assert "division" not in exchange.answered["detail"]


def test_form_fields_are_a_row(client: Any) -> None:
    assert client.post(form(("distance", None, b"2"), ("carrier", None, "é".encode())), FORM).status == 200
    assert client.rows() == [{"distance": 2.0, "carrier": "é"}]


def test_a_name_sent_twice_makes_two_rows_and_one_sent_once_is_in_both(image_client: Any) -> None:
    body = form(("picture", "a.png", b"A"), ("picture", "b.png", b"B"), ("distance", None, b"1"))
    assert image_client.post(body, FORM).status == 200
    assert image_client.rows() == [{"picture": b"A", "distance": 1.0}, {"picture": b"B", "distance": 1.0}]


@pytest.mark.parametrize(
    "body, status, field",
    [
        (form(("color", None, b"1")), 400, "color"),
        (form(("distance", None, b"far")), 400, "rows[0].distance"),
        (form(("distance", None, b"1"), ("distance", None, b"far")), 400, "rows[1].distance"),
        (form(("carrier", None, b"\xff")), 400, "rows[0].carrier"),
        (form(("stops", None, b"1"), ("stops", None, b"1"), *[("distance", None, b"1")] * 3), 400, "stops"),
        (form(), 400, "body"),
        (form(("distance", None, b"1"), end=b""), 400, "body"),
        (b"no form at all", 400, "body"),
        (b"", 400, "body"),
        (b'--b\r\nContent-Disposition: attachment; name="distance"\r\n\r\n1\r\n--b--\r\n', 400, "parts[0]"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--\r\n", 400, "parts[0]"),
        (b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n1\r\n--b--\r\n', 400, "parts[0]"),
        (b"--b\r\nX: " + b"y" * 20_000 + b"\r\n\r\n1\r\n--b--\r\n", 400, "body"),
        (form(*[("distance", None, b"1")] * 2000), 413, "body"),
    ],
)
def test_a_broken_form_is_refused_by_field(client: Any, body: bytes, status: int, field: str) -> None:
    exchange = client.post(body, FORM) if len(body) < 16_000 else client.post_and_wait(body, FORM)
    assert (exchange.status, exchange.answered["field"]) == (status, field)


def test_a_form_needs_a_boundary(client: Any) -> None:
    exchange = client.post(form(("distance", None, b"1")), "multipart/form-data")
    assert (exchange.status, exchange.answered["field"]) == (400, "Content-Type")


def test_rows_and_images_of_a_form_are_limited(small_client: Any) -> None:
    assert small_client.post_and_wait(form(*[("distance", None, b"1")] * 4), FORM).status == 413
    exchange = small_client.post_and_wait(form(("picture", "p", b"x" * 101)), FORM)
    assert (exchange.status, exchange.answered["field"]) == (413, "rows[0].picture")


@pytest.mark.parametrize("content_type", ["image/png", "image/jpeg"])
def test_an_image_body_is_the_one_image_feature(image_client: Any, content_type: str) -> None:
    assert image_client.post(b"\x89PNG", content_type).status == 200
    assert image_client.rows() == [{"picture": b"\x89PNG"}]


def test_an_image_for_a_model_without_images_is_a_415(client: Any) -> None:
    exchange = client.post(b"\x89PNG", "image/png")
    assert (exchange.status, exchange.answered["field"]) == (415, "Content-Type")
    assert "takes none" in exchange.answered["detail"]


def test_an_image_body_has_a_limit(small_client: Any) -> None:
    exchange = small_client.post_and_wait(b"x" * 101, "image/png")
    assert (exchange.status, exchange.answered["field"]) == (413, "rows[0].picture")


def test_an_image_field_of_a_form_may_be_base64_text(image_client: Any) -> None:
    for text in (base64.b64encode(b"AB"), b"data:image/png;base64," + base64.b64encode(b"AB")):
        assert image_client.post(form(("picture", None, text)), FORM).status == 200
        assert image_client.rows() == [{"picture": b"AB"}]


TYPES = {"a": "float64", "b": "string", "c": "int64"}
cells = st.fixed_dictionaries(
    {
        "a": st.none() | st.floats(allow_nan=False),
        "b": st.none() | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\x00"), min_size=1),
        "c": st.none() | st.integers(-(2**63), 2**63 - 1),
    }
)


@given(st.lists(cells, max_size=5))
def test_csv_of_any_values_comes_back_as_those_values(rows: list[dict[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["a", "b", "c"])
    writer.writeheader()
    writer.writerows(rows)
    assert csv_rows(text.getvalue().encode(), TYPES, most_rows=10) == rows


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_invalid_input(body: bytes) -> None:
    for read in (
        lambda: csv_rows(body, TYPES, most_rows=10),
        lambda: csv_rows(b"a,b,c\n" + body, TYPES, most_rows=10),
        lambda: form_rows(body, FORM.encode(), TYPES, WayInLimits()),
        lambda: form_rows(b"--b\r\n" + body, FORM.encode(), TYPES, WayInLimits()),
        lambda: form_rows(form(("a", None, b"1")), body, TYPES, WayInLimits()),
    ):
        with contextlib.suppress(InvalidInput):
            read()

"""Requests in unusual forms reach the same handlers, with the same answers."""

import pytest

from penstock.testing.raw_http import RawConnection, infer_body, raw_request
from penstock.testing.server import ServerProcess

INFER = "/v2/models/echo/infer"
BODY = infer_body([1.0, 2.0], id="form")
LATE = raw_request("POST", INFER, infer_body([0.1], "delay", "late"))


@pytest.fixture
def connection(echo: ServerProcess):
    with RawConnection(echo.port) as opened:
        yield opened


def chunked(body: bytes, *sizes: int) -> bytes:
    parts, start = [], 0
    for size in (*sizes, len(body) - sum(sizes)):
        parts.append(b"%x\r\n%b\r\n" % (size, body[start : start + size]))
        start += size
    return b"".join([*parts, b"0\r\n\r\n"])


def request(*lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"POST {INFER} HTTP/{version}", "Host: test", *lines]).encode() + b"\r\n\r\n"


PLAIN = request(f"Content-Length: {len(BODY)}") + BODY
FORMS = {
    "plain": PLAIN,
    "query": PLAIN.replace(b"/infer ", b"/infer?trace=1 "),
    "escaped": PLAIN.replace(b"/echo/", b"/ec%68o/"),
    "absolute": PLAIN.replace(b"POST /v2", b"POST http://test/v2"),
    "chunked": request("Transfer-Encoding: chunked") + chunked(BODY, 10, 20),
    "chunked with trailers": request("Transfer-Encoding: chunked") + chunked(BODY)[:-2] + b"X-Sum: 1\r\n\r\n",
    "header twice": request("X-A: 1", "X-A: 2", f"Content-Length: {len(BODY)}") + BODY,
    "upgrade": request("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", f"Content-Length: {len(BODY)}") + BODY,
    "upgrade and chunked": request("Connection: upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked") + chunked(BODY, 5),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_answered_like_the_plain_one(connection, form):
    plain = connection.send(PLAIN).answer()
    answer = connection.send(FORMS[form]).answer()
    assert (answer.status, answer.body) == (200, plain.body)
    for name in ("content-type", "penstock-bundle"):
        assert answer.headers[name] == plain.headers[name]
    assert answer.headers["x-request-id"] != plain.headers["x-request-id"]
    assert connection.send(PLAIN).answer().status == 200


@pytest.mark.parametrize("form", FORMS)
def test_a_form_keeps_its_place_in_a_pipeline(connection, form):
    connection.send(LATE, FORMS[form], PLAIN)
    answers = [connection.answer() for _ in range(3)]
    assert [answer.json()["id"] for answer in answers] == ["late", "form", "form"]


@pytest.mark.parametrize("form", FORMS)
def test_an_error_has_the_same_form(connection, form):
    answer = connection.send(FORMS[form].replace(b"/infer", b"/versions/9/infer").replace(b'"form"', b'"form"')).answer()
    assert answer.status == 404
    assert answer.json() == {"error": "no version '9' of echo; expected 1"}
    assert answer.headers["x-request-id"]


def test_expect_gets_100_then_the_answer(connection):
    connection.send(request("Expect: 100-continue", f"Content-Length: {len(BODY)}"))
    assert connection.answer().status == 100
    assert connection.send(BODY).answer().json()["id"] == "form"


def test_http_1_0_is_answered_and_closed(connection):
    answer = connection.send(request(f"Content-Length: {len(BODY)}", version="1.0"), BODY).answer()
    assert (answer.status, answer.json()["id"]) == (200, "form")
    assert connection.closed()


def test_connection_close_is_kept_on_both_ways(echo):
    for extra in ((), ("Transfer-Encoding: chunked",)):
        with RawConnection(echo.port) as connection:
            body = chunked(BODY) if extra else BODY
            length = () if extra else (f"Content-Length: {len(BODY)}",)
            answer = connection.send(request("Connection: close", *extra, *length), body).answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert connection.closed()


def test_head_is_get_without_its_body(connection):
    answer = connection.send(raw_request("HEAD", "/v2")).answer(head=True)
    assert answer.status == 200
    assert int(answer.headers["content-length"]) > 0
    assert connection.send(raw_request("GET", "/v2")).answer().json()["name"] == "penstock"


@pytest.mark.parametrize("method", ["OPTIONS", "GET", "PUT", "DELETE", "PATCH"])
def test_another_method_gets_405_in_the_protocols_form(connection, method):
    answer = connection.send(raw_request(method, INFER, b"" if method in ("PUT", "PATCH") else None)).answer()
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert "POST" in answer.json()["error"]


def test_options_of_everything_is_an_error_not_a_hang(connection):
    assert connection.send(raw_request("OPTIONS", "*")).answer().status in (400, 404)


def test_a_body_on_a_path_that_is_not_there_is_swallowed(connection):
    answer = connection.send(raw_request("POST", "/v2/models/echo/nothing", b"x" * 100_000)).answer()
    assert answer.status == 404
    assert connection.send(PLAIN).answer().status == 200


def test_post_without_any_body_is_an_error_that_says_so(connection):
    answer = connection.send(raw_request("POST", INFER)).answer()
    assert answer.status == 400
    assert "error" in answer.json()


def test_chunks_from_a_caller_that_leaves_harm_nobody(echo, connection):
    with RawConnection(echo.port) as leaving:
        leaving.send(request("Transfer-Encoding: chunked"), chunked(infer_body([0.2], "delay")))
    with RawConnection(echo.port) as leaving:
        leaving.send(request("Transfer-Encoding: chunked"), b"5\r\nab")
    assert connection.send(PLAIN).answer().status == 200

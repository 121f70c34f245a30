"""Errors as HTTP answers: the status of each kind, the protocol's form or a problem, and when to come again."""

import orjson
import pytest

from penstock import errors
from penstock.errors import ErrorKind, InvalidInput, NotReady, Overloaded, PenstockError
from penstock.serving.status import HTTP_STATUS, error_response, problem, status_response

# The table of the design, by class of error.
EXPECTED = {
    "InvalidInput": 400,
    "TooLarge": 413,
    "UnsupportedType": 415,
    "Unauthenticated": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "Conflict": 409,
    "WrongBundle": 412,
    "Overloaded": 429,
    "DeadlineExceeded": 504,
    "NotReady": 503,
    "UpstreamUnavailable": 503,
    "Internal": 500,
}


def test_every_kind_has_a_status():
    assert set(HTTP_STATUS) == set(ErrorKind)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_error_has_the_designs_status(name):
    error: PenstockError = getattr(errors, name)("text")
    assert error_response(error, b"/v2/models/m/infer")[0] == EXPECTED[name]


@pytest.mark.parametrize("path", [b"/v2", b"/v1", b"/v2/models/m/infer", b"/v1/models/m:predict"])
def test_protocol_paths_get_the_protocols_form(path):
    status, body, content_type, headers = error_response(InvalidInput("expected 3", field="inputs[0].shape"), path)
    assert (status, content_type, headers) == (400, b"application/json", b"")
    assert orjson.loads(body) == {"error": "inputs[0].shape: expected 3"}


@pytest.mark.parametrize("path", [b"", b"/", b"/v20/x", b"/models/m/predict", b"*"])
def test_other_paths_get_a_problem_with_the_field(path):
    _, body, content_type, _ = error_response(InvalidInput("expected 3", field="rows[0].a"), path)
    assert content_type == b"application/problem+json"
    assert orjson.loads(body) == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "expected 3",
        "kind": "invalid_input",
        "field": "rows[0].a",
    }


@pytest.mark.parametrize("seconds, whole, ms", [(0.0, 1, 1), (0.25, 1, 250), (1.2, 2, 1200)])
def test_what_may_work_later_says_when(seconds, whole, ms):
    headers = error_response(Overloaded("full", retry_after_s=seconds), b"/v2")[3]
    assert headers == b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (whole, ms)
    assert error_response(NotReady("starting"), b"/v2")[3] == b"retry-after: 1\r\nretry-after-ms: 1000\r\n"


def test_a_message_with_a_lone_surrogate_can_still_be_written():
    for path in (b"/v2", b"/"):
        assert b"?" in error_response(InvalidInput("got '\ud800'", field="\udfff"), path)[1]


def test_http_errors_without_a_kind():
    assert status_response(405, "no", b"/v2") == (b'{"error":"no"}', b"application/json")
    assert orjson.loads(status_response(405, "no", b"/")[0])["title"] == "Method Not Allowed"
    assert orjson.loads(problem(499, "left"))["title"] == "Client Closed Request"
    assert orjson.loads(problem(599, "odd"))["title"] == "Error"

"""Answers back into the error tree: what the server's own table writes, the client reads."""

import time
from email.utils import formatdate

import pytest

from penstock import errors
from penstock.client.call import Answer
from penstock.client.refusals import error_of, retry_after_s
from penstock.serving.status import HTTP_STATUS, error_response

KINDS = [found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, errors.PenstockError)]
# Kinds that share a status, where the protocol's form names no kind.
MERGED = {errors.UpstreamUnavailable: errors.NotReady, errors.PenstockError: errors.Internal}


def answer_to(error: errors.PenstockError, path: bytes) -> Answer:
    status, body, content_type, lines = error_response(error, path)
    headers = dict(line.split(": ", 1) for line in lines.decode().split("\r\n") if line)
    return Answer(status, {"content-type": content_type.decode(), "x-request-id": "r1", **headers}, body)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", [b"/v2/models/m/infer", b"/models/m/predict"])
@pytest.mark.parametrize("field", [None, "inputs[1].data[3]", "Penstock-Timeout-Ms"])
def test_every_error_comes_back(kind: type[errors.PenstockError], path: bytes, field: str | None) -> None:
    given = kind("expected 3: got 4", field=field)
    found = error_of(answer_to(given, path))
    expected = MERGED.get(kind, kind) if path.startswith(b"/v2") or kind is errors.PenstockError else kind
    assert type(found) is expected
    assert found.request_id == "r1"
    if HTTP_STATUS[kind.kind] < 500 or not path.startswith(b"/v2"):
        assert (found.message, found.field) == ("expected 3: got 4", field)
    else:
        assert "expected 3: got 4" in found.message


def test_words_before_a_colon_are_not_always_a_field() -> None:
    found = error_of(Answer(404, {}, b'{"error": "no model: it is gone"}'))
    assert (found.message, found.field) == ("no model: it is gone", None)


def test_overloaded_says_when_to_come_back() -> None:
    found = error_of(answer_to(errors.Overloaded("full", retry_after_s=0.25), b"/v2/models/m/infer"))
    assert isinstance(found, errors.Overloaded)
    assert found.retry_after_s == 0.25


def test_the_bundle_of_a_failed_request() -> None:
    assert error_of(Answer(400, {"penstock-bundle": "m@sha256:1"}, b"{}")).bundle == "m@sha256:1"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (502, b"<html>", errors.UpstreamUnavailable),
        (301, b"", errors.UpstreamUnavailable),
        (418, b"[]", errors.UpstreamUnavailable),
        (503, b"no healthy upstream", errors.NotReady),
        (422, b'{"detail": [1]}', errors.InvalidInput),
        (400, b'{"kind": "unheard of", "detail": "x"}', errors.InvalidInput),
    ],
)
def test_answers_of_what_stands_in_between(status: int, body: bytes, kind: type[errors.PenstockError]) -> None:
    assert type(error_of(Answer(status, {}, body))) is kind


def test_when_to_try_again() -> None:
    assert retry_after_s(Answer(429, {"retry-after": "2", "retry-after-ms": "1500"}, b"")) == 1.5
    assert retry_after_s(Answer(429, {"retry-after": "2"}, b"")) == 2
    assert retry_after_s(Answer(429, {}, b"")) is None
    assert retry_after_s(Answer(429, {"retry-after": "soon"}, b"")) is None
    found = retry_after_s(Answer(503, {"retry-after": formatdate(time.time() + 100, usegmt=True)}, b""))
    assert found is not None
    assert 90 < found <= 100
    assert retry_after_s(Answer(503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"")) == 0

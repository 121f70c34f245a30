"""What another program at the server's address may answer: always a failure that says so, never a fault of ours."""

import http.client
import io
import ssl
import urllib.error
import urllib.request
from email.message import Message

import pytest

from penstock_cli.errors import Failure
from penstock_cli.predict import _show
from penstock_cli.server_client import Server


def unverified(words: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, words)
    error.verify_message = words
    return error


@pytest.mark.parametrize("body", [b"[1]", b'"no"', b"<html>", b"", b"\xff"])
def test_a_refusal_in_any_form_is_a_failure(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    def refuse(request: urllib.request.Request, **_: object) -> None:
        raise urllib.error.HTTPError(request.full_url, 502, "Bad Gateway", Message(), io.BytesIO(body))

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(Failure, match="Bad Gateway"):
        Server("http://127.0.0.1:1", 1.0).get("/v1/models")


def test_a_model_to_be_named_is_named_by_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"field": "model", "detail": "expected ?model= with one of a, b"}'

    def refuse(request: urllib.request.Request, **_: object) -> None:
        raise urllib.error.HTTPError(request.full_url, 400, "Bad Request", Message(), io.BytesIO(body))

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(Failure, match="Say which with --model"):
        Server("http://127.0.0.1:1", 1.0).get("/predict/x")


@pytest.mark.parametrize(
    "reason, words",
    [
        (ConnectionRefusedError(111, "Connection refused"), "127.0.0.1:1: Connection refused\nIs it running"),
        (TimeoutError("timed out"), "no answer within 1.5 s\n--timeout waits longer"),
        (unverified("unable to get local issuer certificate"), "127.0.0.1:1: unable to get local issuer certificate\n--ca FILE"),
        (ssl.SSLError(1, "[SSL] wrong version number"), "wrong version number\nDoes it speak TLS?"),
    ],
)
def test_a_server_that_does_not_answer_is_told_in_words(monkeypatch: pytest.MonkeyPatch, reason: OSError, words: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise urllib.error.URLError(reason)

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    with pytest.raises(Failure) as told:
        Server("http://127.0.0.1:1", 1.5).get("/v1/models")
    assert words in told.value.message


@pytest.mark.parametrize(("url", "words"), [("http", "begins with https://"), ("https", "may want a certificate")])
def test_a_server_that_hangs_up_may_speak_tls(monkeypatch: pytest.MonkeyPatch, url: str, words: str) -> None:
    def hang_up(*_: object, **__: object) -> None:
        raise http.client.RemoteDisconnected("Remote end closed connection without response")

    monkeypatch.setattr(urllib.request, "urlopen", hang_up)
    with pytest.raises(Failure, match=words):
        Server(f"{url}://127.0.0.1:1", 1.5).get("/v1/models")


@pytest.mark.parametrize("answer", [{}, {"predictions": None}, {"predictions": {"label": "x"}}])
def test_an_answer_without_predictions_is_a_failure(answer: dict[str, object]) -> None:
    with pytest.raises(Failure, match="holds no predictions"):
        _show([("", answer)])

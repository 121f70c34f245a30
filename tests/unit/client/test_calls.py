"""Requests as values, and answers that are not what the API says."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest

import penstock.client
from penstock.client import AsyncClient, Client, Prediction, RefusedRow, predicting, tracking
from penstock.client.bulk import chunks, predict_lines
from penstock.client.call import Answer, CallOptions, Repeat, option_headers, path_of
from penstock.client.inferring import inference_of, metadata
from penstock.client.reading import page_of, predictions_of, record_of, report_of
from penstock.client.tracking import Looks, async_prediction_of
from penstock.client.transport import checked_url, standing_headers
from penstock.errors import DeadlineExceeded, InvalidInput, PenstockError, UpstreamUnavailable


def test_paths_hold_any_text() -> None:
    assert path_of("/records/{}", "a/b é?", model="m&n", cursor=None) == "/records/a%2Fb%20%C3%A9%3F?model=m%26n"
    assert path_of("/records/{}", "..") == "/records/%2E%2E"


def test_options_are_headers() -> None:
    options: CallOptions = {
        "timeout_s": 1, "priority": -1, "route_key": "k", "expect_bundle": "sha256:0", "request_id": "r", "traceparent": "00-1"
    }  # fmt: skip
    assert option_headers(options) == {
        "penstock-priority": "-1",
        "penstock-route-key": "k",
        "penstock-expect-bundle": "sha256:0",
        "x-request-id": "r",
        "traceparent": "00-1",
    }
    with pytest.raises(InvalidInput) as refused:
        option_headers({"route_key": "a\r\nb: c"})
    assert refused.value.field == "penstock-route-key"


def test_an_option_that_there_is_not_is_named() -> None:
    with pytest.raises(TypeError, match="unexpected option 'timeout'; did you mean 'timeout_s'"):
        option_headers({"timeout": 3})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(TypeError, match=r"unexpected option 'zzz'$"):
        option_headers({"zzz": 3})  # type: ignore[typeddict-unknown-key]


def test_only_what_is_safe_is_repeated() -> None:
    assert predicting.predict("m", [], True).repeat is Repeat.ALWAYS
    assert predicting.create_record({}, None, None, None).repeat is Repeat.IF_REFUSED
    assert predicting.delete_record("a", None).repeat is Repeat.IF_REFUSED
    submitted = tracking.submit("m", [{}], None)
    assert submitted.repeat is Repeat.ALWAYS
    assert submitted.headers["idempotency-key"] != tracking.submit("m", [{}], None).headers["idempotency-key"]
    assert tracking.submit("m", [{}], "k").headers["idempotency-key"] == "k"


def test_rows_of_numpy_values_are_json() -> None:
    row = {"a": np.float32(1.5), "b": np.arange(2), "c": float("nan"), "d": datetime(2020, 1, 1, tzinfo=UTC)}
    body = orjson.loads(predicting.predict("m", [row], False).body)
    assert body == {
        "rows": [{"a": 1.5, "b": [0, 1], "c": None, "d": "2020-01-01T00:00:00+00:00"}],
        "options": {"data": False},
    }
    with pytest.raises(InvalidInput):
        predicting.predict("m", [{"a": object()}], True)


def test_an_event_time_has_a_zone() -> None:
    with pytest.raises(InvalidInput) as refused:
        predicting.put_record("a", {}, datetime(2020, 1, 1), None)
    assert refused.value.field == "event_time"


def test_chunks_hold_every_row_once() -> None:
    rows = [{"at": at} for at in range(7)]
    assert [(first, len(chunk)) for first, chunk in chunks(iter(rows), 3)] == [(0, 3), (3, 3), (6, 1)]
    assert [row for _, chunk in chunks(rows, 3) for row in chunk] == rows
    with pytest.raises(InvalidInput):
        list(chunks(rows, 0))


@pytest.mark.parametrize("url", ["ftp://host", "http://", "host:80/?a=1", ""])
def test_addresses(url: str) -> None:
    with pytest.raises(InvalidInput):
        checked_url(url)
    assert checked_url("host:80/base/") == "http://host:80/base"


def test_a_token_is_a_header() -> None:
    assert standing_headers({"X-A": "b"}, "t") == {"x-a": "b", "authorization": "Bearer t"}


@pytest.mark.parametrize(
    "read",
    [
        predictions_of,
        page_of,
        report_of,
        inference_of,
        async_prediction_of,
        metadata("m", None).read,
        lambda answer: record_of({}),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"<html>", b'{"predictions": [1], "model": "m", "bundle": "b", "records": 3}']
)
def test_an_answer_of_something_else_is_said(read: Callable[[Answer], Any], body: bytes) -> None:
    with pytest.raises(UpstreamUnavailable):
        read(Answer(200, {}, body))


def test_members_of_a_newer_server_are_passed_over() -> None:
    body = b'{"model": "m", "bundle": "b", "predictions": [{"label": "x", "new": 1}], "newer": 2}'
    found = predictions_of(Answer(200, {"x-request-id": "r"}, body))
    assert (found.predictions[0].label, found.predictions[0].bundle, found.request_id) == ("x", "b", "r")


def test_lines_are_predictions_or_refusals_by_row() -> None:
    call = predict_lines("m", [{"a": 1}, {"a": "x"}], 10, False)
    assert (call.path, call.body) == ("/models/m/predict?data=false", b'{"a":1}\n{"a":"x"}\n')
    lines = b'{"value": 1}\n{"line": 2, "error": "expected a number", "kind": "invalid_input", "status": 400, "field": "a"}\n'
    first, second = call.read(Answer(200, {"penstock-bundle": "m@1"}, lines))
    assert isinstance(first, Prediction)
    assert (first.value, first.bundle) == (1, "m@1")
    assert isinstance(second, RefusedRow)
    assert (second.row, type(second.error), second.error.field) == (11, InvalidInput, "a")
    for body in (b"", lines + lines, b"1\n2\n", b"x\ny\n"):
        with pytest.raises(UpstreamUnavailable):
            call.read(Answer(200, {}, body))


def test_an_async_prediction() -> None:
    body = {"id": "p1", "state": "starting", "model": "m", "position": 3}
    found = async_prediction_of(Answer(202, {}, orjson.dumps(body)))
    assert (found.id, found.done, found.predictions, found.document["position"]) == ("p1", False, (), 3)
    body |= {"state": "succeeded", "result": {"model": "m", "bundle": "b", "predictions": [{"value": 1.5}]}}
    found = async_prediction_of(Answer(200, {}, orjson.dumps(body)))
    assert (found.done, found.predictions[0].value, found.predictions[0].bundle) == (True, 1.5, "b")
    body = {"id": "p1", "state": "failed", "error": {"detail": "no"}}
    assert async_prediction_of(Answer(200, {}, orjson.dumps(body))).error == "no"


def test_looking_pauses_longer_and_longer_until_its_deadline() -> None:
    now = [0.0]
    looks = Looks(1.0, clock=lambda: now[0])
    pauses: list[float] = []

    def look_on() -> None:
        while True:
            pauses.append(looks.pause_s())
            now[0] += pauses[-1]

    with pytest.raises(DeadlineExceeded):
        look_on()
    assert pauses[:3] == [0.05, 0.1, 0.2]
    assert sum(pauses) == pytest.approx(1.0)


def test_both_clients_have_the_same_verbs() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(AsyncClient) - {"stream"} == public(Client)
    for name in penstock.client.__all__:
        assert hasattr(penstock.client, name)
    assert issubclass(UpstreamUnavailable, PenstockError)

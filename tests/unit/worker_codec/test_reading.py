"""What a record asks: each form of a value, each header, and what is wrong with those that are none."""

import base64
import json
import time

import numpy as np
import pytest
from cloudevents.http import CloudEvent
from cloudevents.kafka import to_structured

from penstock.errors import DeadlineExceeded, InvalidInput, TooLarge, UnsupportedType
from penstock.protocol.limits import Limits
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.requests import PredictRequest
from penstock_transformer.worker.reading import Reader

NOW = 1_790_000_000.0
ROWS = b'{"rows":[{"distance":1.5}]}'
V2 = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
DIGEST = b"sha256:" + b"a" * 64


@pytest.fixture
def read(record):
    reader = Reader("flights", limits=Limits(body_bytes=4096), way_in=WayInLimits(rows=3), wall=lambda: NOW, clock=lambda: 50.0)

    def read(value, *headers, timestamp_s=NOW, **given):
        made = record(value, *headers, timestamp_ms=int(timestamp_s * 1e3), **given)
        return reader.read(made, made.value)

    return read


def binary(*numbers):
    head = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, len(numbers)]}]}
    head["inputs"][0]["parameters"] = {"binary_data_size": 4 * len(numbers)}
    text = json.dumps(head).encode()
    return text + np.array(numbers, "<f4").tobytes(), ("inference-header-content-length", b"%d" % len(text))


@pytest.mark.parametrize(
    "kind", [None, b"", b"application/json", b"Application/JSON ; charset=UTF-8", b'application/json;charset="utf-8"']
)
def test_json_rows(read, kind):
    request = read(ROWS, *([] if kind is None else [("content-type", kind)]))
    assert isinstance(request, PredictRequest)
    assert request.model == "flights"
    assert request.rows == [{"distance": 1.5}]


def test_options_go_with_the_rows(read):
    assert read(b'{"rows":[{}],"options":{"data":false}}').options == {"data": False}


@pytest.mark.parametrize("value", [V2, V2.replace(b'{"inputs"', b'{ "inputs"'), b'{"id":"4","rows":[],' + V2[1:]])
def test_a_body_with_top_level_inputs_is_v2(read, value):
    request = read(value)
    assert request.inputs[0].array.tolist() == [[1, 2]]


def test_v2_binary(read):
    body, length = binary(1.5, float("nan"))
    for kind in ([], [("content-type", b"application/octet-stream")]):
        request = read(body, length, *kind)
        np.testing.assert_array_equal(request.inputs[0].array, np.array([[1.5, np.nan]], np.float32))


def event(**given):
    return json.dumps({"specversion": "1.0", "id": "e-1", "source": "/s", "type": "t", **given}).encode()


STRUCTURED = ("Content-Type", b"application/cloudevents+json; charset=utf-8")


def test_an_event_in_structured_mode_holds_a_request(read):
    request = read(event(data={"rows": [{"distance": 2}]}, datacontenttype="application/json"), STRUCTURED)
    assert request.rows == [{"distance": 2}]
    assert request.context.request_id == "e-1"
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    request = read(event(data=json.loads(V2), traceparent=trace), STRUCTURED)
    assert request.inputs[0].name == "x"
    assert request.context.traceparent.startswith(trace[:36])


def test_an_event_is_known_without_its_media_type(read):
    """CloudEvents' own SDK writes that of the data, or none."""

    def sent(data, **given):
        written = to_structured(CloudEvent({"id": "e-1", "source": "/s", "type": "t", **given}, data))
        assert "cloudevents" not in str(written.headers)
        return read(written.value, *written.headers.items())

    for kind in ({}, {"datacontenttype": "application/json"}):
        request = sent({"rows": [{"distance": 2}]}, **kind)
        assert request.rows == [{"distance": 2}]
        assert request.context.request_id == "e-1"
        assert sent(json.loads(V2), **kind).inputs[0].name == "x"
    body, (_, length) = binary(1.0, 2.0)
    for kind in ({}, {"datacontenttype": "application/octet-stream"}):
        assert sent(body, inferenceheadercontentlength=int(length), **kind).inputs[0].array.tolist() == [[1, 2]]


def test_an_event_may_hold_its_data_in_base64(read):
    body, (_, length) = binary(1.0, 2.0)
    encoded = base64.b64encode(body).decode()
    given = {"data_base64": encoded, "datacontenttype": "application/octet-stream"}
    for request in (
        read(event(**given, inferenceheadercontentlength=int(length)), STRUCTURED),
        read(event(**given), STRUCTURED, ("inference-header-content-length", length)),
    ):
        assert request.inputs[0].array.tolist() == [[1, 2]]


def test_numbers_of_an_event_stay_as_they_were_sent(read):
    value = b'{"specversion":"1.0","id":"1","data":{"rows":[{"distance":0.1000000000000000055511151231257827}]}}'
    assert read(value, STRUCTURED).rows == [{"distance": 0.1}]


@pytest.mark.parametrize(
    ("value", "headers", "error", "field"),
    [
        (None, [], InvalidInput, "body"),
        (b"", [], InvalidInput, "body"),
        (b"no json", [], InvalidInput, "body"),
        (b"\xff\xfe", [], InvalidInput, "body"),
        (b"[" * 4000, [], InvalidInput, "body"),
        (b'{"instances":[1]}', [], InvalidInput, "instances"),
        (b'{"rows":[1]}', [], InvalidInput, "rows[0]"),
        (b'{"rows":[{}],"options":{"colour":1}}', [], InvalidInput, "options.colour"),
        (b'{"rows":[{},{},{},{}]}', [], TooLarge, "rows"),
        (b'{"rows":[' + b" " * 5000 + b"]}", [], TooLarge, None),
        (b'{"inputs":[]}', [], InvalidInput, "inputs"),
        (ROWS, [("content-type", b"text/csv")], UnsupportedType, "content-type"),
        (ROWS, [("content-type", b"\xff\xfe")], UnsupportedType, "content-type"),
        (ROWS, [("content-type", b"application/json; charset=utf-16")], UnsupportedType, "content-type"),
        (ROWS, [("content-type", b"application/cloudevents-batch+json")], UnsupportedType, "content-type"),
        (ROWS, [("content-encoding", b"gzip")], UnsupportedType, "content-encoding"),
        (ROWS, [("content-type", b"application/octet-stream")], InvalidInput, "inference-header-content-length"),
        (ROWS, [("inference-header-content-length", b"-4")], InvalidInput, "inference-header-content-length"),
        (ROWS, [("inference-header-content-length", b"4000000")], InvalidInput, "Inference-Header-Content-Length"),
        (ROWS, [("penstock-timeout-ms", b"soon")], InvalidInput, "Penstock-Timeout-Ms"),
        (ROWS, [("penstock-priority", b"1.5")], InvalidInput, "Penstock-Priority"),
        (ROWS, [("penstock-expect-bundle", b"flights")], InvalidInput, "Penstock-Expect-Bundle"),
        (b"nothing", [STRUCTURED], InvalidInput, "body"),
        (event(), [STRUCTURED], InvalidInput, "data"),
        (event(data={}, data_base64=""), [STRUCTURED], InvalidInput, "data_base64"),
        (event(data_base64="?"), [STRUCTURED], InvalidInput, "data_base64"),
        (event(specversion="0.3", data={}), [STRUCTURED], InvalidInput, "specversion"),
        (event(data={}, datacontenttype="text/xml"), [STRUCTURED], UnsupportedType, "content-type"),
        (event(), [], InvalidInput, "data"),
        (event(data={"rows": [1]}), [], InvalidInput, "rows[0]"),
        (event(data=json.loads(event(data={}))), [], InvalidInput, "specversion"),
        (event(data={}, datacontenttype="application/cloudevents+json"), [STRUCTURED], UnsupportedType, "content-type"),
    ],
)
def test_what_is_no_request_says_what_is_wrong_and_where(read, value, headers, error, field):
    with pytest.raises(error) as caught:
        read(value, ("ce_id", b"abc"), *headers)
    assert caught.value.field == field
    assert caught.value.request_id in ("abc", "e-1")


def test_the_id_is_the_events_or_the_position(read):
    assert read(ROWS, ("ce_id", b"abc")).context.request_id == "abc"
    assert read(ROWS, ("ce_id", b"first"), ("CE_ID", b"last")).context.request_id == "last"
    assert read(ROWS, ("ce_id", "ein schöner Tag".encode())).context.request_id == "ein schöner Tag"
    for unusable in (b"", b"\xff", b"a\r\nb", b"x" * 201):
        assert read(ROWS, ("ce_id", unusable)).context.request_id == "flights.requests/3/7"
    assert read(ROWS).context.request_id == "flights.requests/3/7"


def test_the_context_is_that_of_the_headers(read):
    context = read(
        ROWS,
        ("penstock-priority", b"-2"),
        ("penstock-route-key", b"caller 4"),
        ("penstock-expect-bundle", b"flights@" + DIGEST),
        ("ce_traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
    ).context
    assert (context.priority, context.route_key, context.expect_bundle) == (-2, "caller 4", DIGEST.decode())
    assert context.traceparent.startswith("00-" + "a" * 32)
    assert context.deadline is None
    assert read(ROWS, ("traceparent", b"nonsense")).context.traceparent is None


def test_the_deadline_counts_from_the_records_timestamp(read):
    wait = ("penstock-timeout-ms", b"2000")
    assert read(ROWS, wait, timestamp_s=NOW - 0.5).context.deadline == pytest.approx(51.5)
    with pytest.raises(DeadlineExceeded) as caught:
        read(ROWS, wait, timestamp_s=NOW - 2.5)
    assert caught.value.request_id == "flights.requests/3/7"


@pytest.mark.parametrize("timestamp_s", [NOW + 3600, -0.001])
def test_a_clock_that_is_ahead_gives_nobody_more_time(read, timestamp_s):
    assert read(ROWS, ("penstock-timeout-ms", b"2000"), timestamp_s=timestamp_s).context.deadline == pytest.approx(52.0)


def test_clocks_are_the_systems_unless_given(record):
    made = record(ROWS, ("penstock-timeout-ms", b"60000"))
    deadline = Reader("flights").read(made, made.value).context.deadline
    assert time.monotonic() < deadline <= time.monotonic() + 60

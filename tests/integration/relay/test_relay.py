"""From the database to Kafka, each once, with real servers: as it should be, and whatever dies."""

import json
import signal
from typing import Any

import pytest

from penstock.testing.committed import until
from penstock_transformer.predictions.resource import Payload


def test_what_is_submitted_is_published_as_a_cloud_event(place: Any) -> None:
    place.relay().wait_ready()
    place.submit(1, key=b"k", headers=(("traceparent", b"00-1"), ("penstock-timeout-ms", b"500")))
    [record] = place.wait_published()
    assert json.loads(record.value) == {"rows": [{"x": 0}]}
    assert record.key == b"k"
    headers = dict(record.headers)
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_id"].decode() == place.submitted[0]
    assert headers["ce_type"] == b"dev.penstock.prediction.requested.v1"
    assert headers["ce_source"] == f"/models/{place.model}/predictions".encode()
    assert headers["content-type"] == b"application/json"
    assert (headers["traceparent"], headers["penstock-timeout-ms"]) == (b"00-1", b"500")
    assert until(lambda: place.row_count("penstock_intents") == 0, 10, "no intent left")


def test_a_large_body_goes_by_its_reference(place: Any) -> None:
    place.relay().wait_ready()
    place.submit(1, payload=Payload(None, (("content-type", b"image/png"),), 10**7, "s3://bucket/one"))
    [record] = place.wait_published()
    headers = dict(record.headers)
    assert (record.value or b"", headers["penstock-reference"]) == (b"", b"s3://bucket/one")
    assert headers["content-type"] == b"image/png"


@pytest.mark.parametrize("point", ["relay.claimed", "relay.sent", "relay.marked"])
@pytest.mark.parametrize("action", ["kill", "error"])
def test_a_relay_that_dies_at_a_failpoint_loses_and_doubles_nothing(place: Any, point: str, action: str) -> None:
    place.submit(25)
    first = place.relay(failpoints=f"{point}={action}@2")
    if action == "kill":
        assert first.wait(60) == -signal.SIGKILL
        place.relay().wait_ready()
    place.submit(5)
    place.wait_published()
    until(lambda: place.row_count("penstock_intents") == 0, 20, "no intent left")

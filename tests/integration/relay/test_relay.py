"""From the database to Kafka, each once, with real servers: as it should be, and whatever dies."""

import json
import signal
from typing import Any

import pytest
import requests

from penstock.testing.waiting import until
from penstock_transformer.predictions.resource import Payload, State


def test_what_is_submitted_is_published_as_a_cloud_event(place: Any) -> None:
    # Told by the database: it would not look by itself while this test lasts.
    place.relay("--relay_sweep_s", "3600").wait_ready()
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


@pytest.mark.timeout(300)
def test_a_relay_that_is_killed_between_any_two_effects_loses_and_doubles_nothing(place: Any) -> None:
    # It takes its slot once, and sends several batches.
    once = "relay.leased", "relay.opened"
    for point in (*once, "relay.claimed", "worker.produced", "relay.sent", "relay.marked"):
        place.submit(15)
        assert place.relay(failpoints=f"{point}=kill@{1 if point in once else 2}").wait(60) == -signal.SIGKILL
    place.relay().wait_ready()
    place.submit(5)
    place.wait_published()
    until(lambda: place.row_count("penstock_intents") == 0, 20, "no intent left")


def test_a_relay_goes_on_after_a_fault_of_its_own_and_drains_in_order(place: Any) -> None:
    place.submit(25)
    relay = place.relay(failpoints="relay.claimed=error@1,relay.sent=error@2,relay.marked=error@2").wait_ready()
    place.wait_published()
    until(lambda: place.row_count("penstock_intents") == 0, 20, "no intent left")
    text = requests.get(f"{relay.url}/metrics", timeout=10).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("penstock_relay"))
    assert float(values["penstock_relay_published_total"]) >= 15
    assert float(values["penstock_relay_takeovers_total"]) >= 1
    assert float(values["penstock_relay_faults_total"]) == 3
    assert relay.stop() == 0
    assert place.row_count("penstock_relay_slots", "pending OR owner IS NOT NULL") == 0


def test_a_model_whose_topic_is_missing_holds_nobody_else(place: Any) -> None:
    other, place.model = place.model, f"{place.model}-missing"
    relay = place.relay("--kafka_create_topics", "false")
    held = place.submit(2)
    place.submitted.clear()
    place.model = other
    place.make_requests_topic()
    place.submit(3)
    place.wait_published()
    assert place.row_count("penstock_intents") == 2
    relay.stop()
    place.relay()
    place.submitted[:], place.model = held, f"{other}-missing"
    place.wait_published()


def test_what_the_topic_never_takes_fails_and_holds_nobody_else(place: Any) -> None:
    place.relay("--kafka_record_mb", "0.01").wait_ready()
    large = b'{"rows": [{"x": "%s"}]}' % (b"x" * 200_000)
    [lost] = place.submit(1, payload=Payload(large, (("content-type", b"application/json"),), len(large)))
    place.submitted.clear()
    place.submit(3)
    place.wait_published()
    ended = place.using(lambda predictions: predictions.get(lost, None))
    assert (ended.state, ended.kind) == (State.FAILED, "too_large")

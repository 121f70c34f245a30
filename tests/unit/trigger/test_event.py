"""What is told: a CloudEvent in either mode, or as our other webhooks are."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from penstock_transformer.feedback.trigger.event import asked
from penstock_transformer.worker.cloud_events import read_event

Make = Callable[..., Any]


def test_structured_is_one_document(watch: Make, retraining: Make) -> None:
    one = retraining()
    headers, body = asked(watch(), one, "structured")
    assert headers == {"content-type": "application/cloudevents+json; charset=utf-8"}
    event = orjson.loads(body)
    attributes = {name: event[name] for name in ("specversion", "id", "type", "source", "subject", "time")}
    assert attributes == {
        "specversion": "1.0", "id": one.id, "type": "dev.penstock.retraining.due.v1", "source": "/models/flights",
        "subject": "flights@sha256:old", "time": "1970-01-01T02:00:00Z",
    }  # fmt: skip
    data = event["data"]
    assert data["window"] == {"since": "1970-01-01T01:00:00Z", "until": "1970-01-01T02:00:00Z"}
    assert (data["digest"], data["log"], data["rows"], data["outcomes"]) == ("sha256:old", "pvc://log", 900, 800)
    assert data["reasons"][0]["text"] == "accuracy 0.5 (surely at most 0.52), at least 0.7 is asked for: passed"
    # Our own reader of CloudEvents takes it.
    assert read_event(body).id == one.id


def test_binary_has_the_attributes_as_headers(watch: Make, retraining: Make) -> None:
    rules = watch(model="flüge nach 50%")
    one = retraining(model="flüge nach 50%")
    headers, body = asked(rules, one, "binary")
    assert {name: headers[name] for name in ("ce-specversion", "ce-id")} == {"ce-specversion": "1.0", "ce-id": one.id}
    assert "content-type" not in headers
    assert all(value.isascii() and " " not in value for value in headers.values())
    assert orjson.loads(body)["model"] == "flüge nach 50%"
    assert orjson.loads(body) == orjson.loads(asked(rules, one, "structured")[1])["data"]


def test_plain_looks_like_our_other_webhooks(watch: Make, retraining: Make) -> None:
    headers, body = asked(watch(), retraining(), "plain")
    told = orjson.loads(body)
    assert (headers, list(told), told["type"]) == ({}, ["type", "timestamp", "data"], "retraining.due")


@pytest.mark.parametrize("mode", ["structured", "binary", "plain"])
def test_every_attempt_says_the_same(watch: Make, retraining: Make, mode: Any) -> None:
    assert asked(watch(), retraining(), mode) == asked(watch(), retraining(), mode)

"""Records through a transformer in this process: one outcome for each, whatever it is."""

import json

import pytest

from penstock_transformer.worker.outcomes import Answered, Away, Died, Refused

ROW = b'{"rows":[{"distance":1,"tailnum":"N1"}]}'


def test_a_prediction_has_its_requests_key_partition_id_and_position(desk, run, record, header):
    async def go():
        async with desk() as d:
            given = record(ROW, ("ce_id", b"abc"), ("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"))
            outcome = await d.outcome(given)
            assert isinstance(outcome, Answered)
            made = outcome.record
            assert (made.topic, made.key, made.partition) == ("flights.predictions", b"k", 3)
            assert json.loads(made.value)["predictions"][0]["value"] == 3.5
            assert header(made, "ce_id") == b"abc"
            assert header(made, "ce_specversion") == b"1.0"
            assert header(made, "ce_source") == b"/models/flights"
            assert header(made, "ce_type") == b"dev.penstock.prediction.made.v1"
            assert header(made, "content-type") == b"application/json"
            assert header(made, "penstock-bundle").decode() == f"flights@{d.predictor.digest}"
            assert header(made, "penstock-position") == b"flights.requests/3/7"
            assert header(made, "traceparent")[:36] == b"00-" + b"a" * 32 + b"-"

    run(go())

"""Records through a transformer in this process: one outcome for each, whatever the record, the pipeline or the stores do."""

import asyncio
import json
import time

import numpy as np
import pytest

from penstock.errors import (
    DeadlineExceeded,
    Internal,
    NotFound,
    NotReady,
    Overloaded,
    UpstreamUnavailable,
)
from penstock_transformer.call import ConnectionEnded
from penstock_transformer.store.port import UnreadableValue
from penstock_transformer.worker.outcomes import Answered, Away, Died, Refused

ROW = b'{"rows":[{"distance":1,"tailnum":"N1"}]}'
DISTANCE = b'{"name":"distance","datatype":"FP32","shape":[1],"data":[1]}'
TAIL = b'{"name":"tailnum","datatype":"BYTES","shape":[1],"data":["N1"]}'
V2 = b'{"id":"4","inputs":[%b,%b]}' % (DISTANCE, TAIL)


def test_a_prediction_has_its_requests_key_partition_id_trace_and_position(desk, run, record, header):
    async def go():
        async with desk() as d:
            trace = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
            outcome = await d.outcome(record(ROW, ("ce_id", b"abc"), ("traceparent", trace)))
            assert isinstance(outcome, Answered)
            made = outcome.record
            assert (made.topic, made.key, made.partition) == ("flights.predictions", b"k", 3)
            assert json.loads(made.value)["predictions"][0]["value"] == 3.5
            assert header(made, "ce_id") == b"abc"
            assert header(made, "ce_specversion") == b"1.0"
            assert header(made, "ce_source") == b"/models/flights"
            assert header(made, "ce_type") == b"dev.penstock.prediction.made.v1"
            assert abs(np.datetime64(header(made, "ce_time").decode().rstrip("Z")).astype(float) / 1e3 - time.time()) < 60
            assert header(made, "content-type") == b"application/json"
            assert header(made, "penstock-bundle").decode() == f"flights@{d.predictor.digest}"
            assert header(made, "penstock-position") == b"flights.requests/3/7"
            assert header(made, "traceparent")[:36] == trace[:36]
            assert len(dict(made.headers)) == len(made.headers)

    run(go())


def test_a_poll_is_one_batch_and_each_of_its_records_has_its_own_answer(desk, run, record):
    async def go():
        async with desk() as d:
            good = [record(b'{"rows":[{"distance":%d,"tailnum":"N1"}]}' % n, offset=n) for n in range(20)]
            bad = [record(b'{"rows":[{"distance":"far","tailnum":"N1"}]}', offset=20), record(b"?", offset=21)]
            found = await d.outcomes(*good[:10], *bad, *good[10:])
            assert [type(f) for f in found] == [Answered] * 10 + [Refused] * 2 + [Answered] * 10
            made = [json.loads(f.record.value)["predictions"][0]["value"] for f in found if isinstance(f, Answered)]
            assert made == [n + 2.5 for n in range(20)]
            assert len(d.predictor.calls) == 1
            assert d.calls == 22

    run(go())


def test_tensors_are_answered_as_tensors(desk, run, record, header):
    async def go():
        async with desk() as d:
            made = (await d.outcome(record(V2))).record
            answer = json.loads(made.value)
            assert (answer["id"], answer["outputs"][0]["data"]) == ("4", [3.5])
            assert header(made, "content-type") == b"application/json"
            asked = V2.replace(b'{"id"', b'{"parameters":{"binary_data_output":true},"id"')
            made = (await d.outcome(record(asked))).record
            length = int(header(made, "inference-header-content-length"))
            assert header(made, "content-type") == b"application/octet-stream"
            assert np.frombuffer(made.value[length:], "<f4").tolist() == [3.5]

    run(go())


def test_an_output_that_json_cannot_hold_is_the_records_own_error(desk, run, record):
    async def go():
        async with desk() as d:
            d.predictor.compute = lambda tensors: {"y": tensors["x"].sum(axis=1).astype(np.float16)}
            refused = await d.outcome(record(V2))
            assert isinstance(refused, Refused)
            assert refused.reason == "invalid_input"
            assert isinstance(
                await d.outcome(record(V2.replace(b'{"id"', b'{"parameters":{"binary_data_output":true},"id"'))), Answered
            )

    run(go())


def test_a_refused_record_is_its_dead_letter_with_reason_and_field(desk, run, record, header):
    async def go():
        async with desk() as d:
            given = record(b'{"rows":[{"tailnum":"N1"}]}', ("x", b"1"), ("x", b"2"))
            refused = await d.outcome(given)
            assert isinstance(refused, Refused)
            letter = refused.record
            assert (refused.reason, letter.topic, letter.partition) == ("invalid_input", "flights.dead-letters", 3)
            assert (letter.key, letter.value, letter.headers[:2]) == (b"k", given.value, given.headers)
            assert header(letter, "penstock-reason") == b"invalid_input"
            assert header(letter, "penstock-field") == b"rows[0].distance"
            assert header(letter, "ce_id") == b"flights.requests/3/7"

    run(go())


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Internal("a fault"), Refused),
        (ConnectionEnded("the predictor closed the connection"), Died),
        (UpstreamUnavailable("cannot be reached"), Away),
        (NotReady("draining"), Away),
        (NotFound("no such model"), Away),
        (DeadlineExceeded("did not answer in time"), Died),
    ],
)
def test_what_the_predictor_answers_decides(desk, run, record, error, outcome):
    async def go():
        async with desk() as d:
            d.predictor.failure = lambda _: error
            assert type(await d.outcome(record(ROW))) is outcome

    run(go())


def test_one_record_that_the_predictor_fails_on_does_not_harm_its_batch(desk, run, record):
    async def go():
        async with desk() as d:
            d.predictor.failure = lambda request: Internal("13") if 13.0 in request.inputs[0].array[:, 0] else None
            sent = [record(b'{"rows":[{"distance":%d,"tailnum":"N1"}]}' % n, offset=n) for n in range(10, 16)]
            found = await d.outcomes(*sent)
            assert [type(f) for f in found] == [Answered, Answered, Answered, Refused, Answered, Answered]
            assert found[3].reason == "internal"

    run(go())


def test_how_long_an_overloaded_predictor_wants_to_be_left_alone(desk, run, record):
    async def go():
        async with desk() as d:
            d.predictor.failure = lambda _: Overloaded("full", retry_after_s=2.5)
            away = await d.outcome(record(ROW))
            assert (type(away), away.retry_after_s) == (Away, 2.5)

    run(go())


def test_a_store_that_is_away_pauses_and_a_value_that_it_cannot_read_is_the_records(desk, run, record):
    async def go():
        async with desk() as d:
            d.store.away = True
            assert type(await d.outcome(record(ROW))) is Away
            assert not await d.predicting.healthy()
            d.store.away = False
            assert await d.predicting.healthy()

            async def unreadable(_):
                raise UnreadableValue("planes.weight is no double")

            d.store.read = unreadable
            assert type(await d.outcome(record(ROW))) is Refused
            assert await d.predicting.healthy()

    run(go())


def test_a_deadline_is_the_records_own_or_it_is_not_blamed(desk, run, record):
    async def go():
        async with desk(settings={"predictor_timeout_ms": 20.0}) as d:
            late = record(ROW, ("penstock-timeout-ms", b"1000"), timestamp_ms=int((time.time() - 2) * 1e3))
            refused = await d.outcome(late)
            assert (type(refused), refused.reason) == (Refused, "deadline_exceeded")
            assert not d.predictor.calls
            d.predictor.held = []
            waiting = record(ROW, ("penstock-timeout-ms", b"150"), timestamp_ms=int(time.time() * 1e3))
            refused = await d.outcome(waiting)
            assert (type(refused), refused.reason) == (Refused, "deadline_exceeded")
            d.predictor.release()

    run(go())


def test_a_record_that_names_a_bundle_waits_for_it_a_while(desk, run, record):
    async def go():
        async with desk() as d:
            expect = ("penstock-expect-bundle", b"sha256:" + b"0" * 64)
            assert type(await d.outcome(record(ROW, expect))) is Away
            refused = await d.outcome(record(ROW, expect, timestamp_ms=int((time.time() - 61) * 1e3)))
            assert (type(refused), refused.reason) == (Refused, "wrong_bundle")

    run(go())


def test_no_bundle_yet_is_no_fault_of_a_record(desk, run, record):
    async def go():
        async with desk() as d:
            route, d.transformer.table.route = d.transformer.table.route, None
            assert type(await d.outcome(record(ROW))) is Away
            assert type(await d.outcome(record(V2))) is Away
            assert not await d.predicting.healthy()
            d.transformer.table.route = route

    run(go())


class Objects:
    """A store of objects. `failure` is raised instead; `held` keeps fetches back; `full` is set once 8 have begun."""

    def __init__(self):
        self.bodies = {"s3://inputs/1": ROW}
        self.failure = None
        self.held = None
        self.begun = 0
        self.most_held = 0
        self.full = asyncio.Event()
        self.answered = lambda: 0

    async def fetch(self, uri):
        self.begun += 1
        self.most_held = max(self.most_held, self.begun - self.answered())
        if self.begun == 8:
            self.full.set()
        if self.held is not None:
            await self.held.wait()
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        if uri not in self.bodies:
            raise NotFound(f"{uri} is gone")
        return self.bodies[uri]


def test_what_a_reference_names_is_fetched_and_predicted(desk, run, record):
    async def go():
        objects = Objects()
        async with desk(fetch=objects.fetch) as d:
            for value in (None, b""):
                assert type(await d.outcome(record(value, ("penstock-reference", b"s3://inputs/1")))) is Answered
            gone = await d.outcome(record(None, ("penstock-reference", b"s3://inputs/2")))
            assert (type(gone), gone.reason, gone.record.value) == (Refused, "not_found", None)
            assert (await d.outcome(record(None, ("penstock-reference", b"\xff")))).reason == "invalid_input"
            assert (await d.outcome(record(None))).reason == "invalid_input"
            objects.failure = UpstreamUnavailable("the object store cannot be reached")
            assert type(await d.outcome(record(None, ("penstock-reference", b"s3://inputs/1")))) is Away
            objects.failure = RuntimeError("a fault of ours")
            assert (await d.outcome(record(None, ("penstock-reference", b"s3://inputs/1")))).reason == "internal"

    run(go())


def test_few_objects_are_held_at_once(desk, run, record):
    async def go():
        objects = Objects()
        async with desk(fetch=objects.fetch) as d:
            d.predictor.held = []
            objects.answered = lambda: d.calls
            asked = [record(None, ("penstock-reference", b"s3://inputs/1"), offset=n) for n in range(20)]
            task = asyncio.ensure_future(d.outcomes(*asked))
            await d.predictor.called.wait()
            d.predictor.release()
            assert [type(f) for f in await task] == [Answered] * 20
            assert (objects.begun, objects.most_held) == (20, 8)

    run(go())


def test_closing_gives_up_what_is_being_fetched_and_loses_no_record(desk, run, record):
    async def go():
        objects = Objects()
        objects.held = asyncio.Event()
        async with desk(fetch=objects.fetch) as d:
            task = asyncio.ensure_future(
                d.outcomes(*[record(None, ("penstock-reference", b"s3://inputs/1"), offset=n) for n in range(9)])
            )
            await objects.full.wait()
            await d.predicting.close()
            assert [type(f) for f in await task] == [Away] * 9

    run(go())


def test_what_is_given_up_before_it_began_is_answered_too(desk, run, record):
    async def go():
        objects = Objects()
        async with desk(fetch=objects.fetch) as d:
            answered = []
            asked = [record(None, ("penstock-reference", b"s3://inputs/1"), offset=n) for n in range(9)]
            d.predicting.submit(asked, lambda record, outcome: answered.append((record.offset, type(outcome))))
            await d.predicting.close()
            assert sorted(answered) == [(n, Away) for n in range(9)]
            assert objects.begun == 0

    run(go())


def test_without_a_store_of_objects_a_reference_is_refused_with_what_is_missing(desk, run, record, header):
    async def go():
        async with desk() as d:
            refused = await d.outcome(record(None, ("penstock-reference", b"s3://inputs/1")))
            assert header(refused.record, "penstock-field") == b"penstock-reference"

    run(go())


def test_a_fault_of_ours_is_one_records_and_said_in_the_log(desk, run, record, caplog, monkeypatch):
    async def go():
        async with desk() as d:
            monkeypatch.setattr(d.predicting._reader, "read", lambda *_: 1 / 0)
            refused = await d.outcome(record(ROW))
            assert (type(refused), refused.reason) == (Refused, "internal")
            assert "could not be read" in caplog.text

    run(go())


def test_crashed_and_too_large(desk, run, record, header):
    async def go():
        async with desk() as d:
            letter = d.predicting.crashed(record(ROW), 3)
            assert (header(letter, "penstock-reason"), header(letter, "penstock-attempts")) == (b"crashed", b"3")
            letter = d.predicting.too_large(record(ROW), "1100000 bytes, the topic takes 1048588")
            assert header(letter, "penstock-reason") == b"too_large"

    run(go())

"""Rows in, predictions out: the whole path in one process, with a store in memory and a predictor that sums."""

import asyncio
import time

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, infer
from penstock.errors import (
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotFound,
    Overloaded,
    UpstreamUnavailable,
    WrongBundle,
)
from penstock.tensors import Tensor
from penstock.testing.bundles import bundle_files

ROW = {"distance": 10.0, "tailnum": "N1"}


def test_one_row(bench, run):
    async def go():
        async with bench() as b:
            answer = await b.ask([ROW])
            assert answer.bundle == f"flights@{b.predictor.digest}"
            assert answer.version == "7"
            (prediction,) = answer.predictions
            assert prediction["value"] == 162.5
            assert prediction["data"] == {"distance": 10.0, "seats": 150, "weight": 2.5}
            assert prediction["defaulted"] == []
            assert prediction["ages_s"]["planes"] < 60
            assert answer.outputs["y"].tolist() == [162.5]
            assert b.predictor.calls[0].context.expect_bundle == b.predictor.digest

    run(go())


def test_a_batch_is_one_read_of_distinct_keys_and_one_call(bench, run):
    async def go():
        async with bench() as b:
            await b.put("planes", "N2", seats=200, weight=1.0)
            sent = [b.send([{"distance": float(i), "tailnum": "N2" if i % 2 else "N1"}]) for i in range(20)]
            answers = [await s.future for s in sent]
            values = [a.predictions[0]["value"] for a in answers]
            assert values == [i + (201.0 if i % 2 else 152.5) for i in range(20)]
            assert len(b.store.reads) == 1
            reads = {r.view: r.keys for r in b.store.reads[0]}
            assert reads["planes"] == [("N1",), ("N2",)]
            assert len(b.predictor.calls) == 1
            assert b.predictor.calls[0].inputs[0].shape == (20, 3)
            assert all(s.count == 1 for s in sent)

    run(go())


def test_rows_and_columns_share_a_batch(bench, run):
    async def go():
        async with bench() as b:
            one = b.send([ROW, {**ROW, "distance": 11.0}])
            two = b.send(columns={"distance": np.array([1, 2, 3], np.float32), "tailnum": np.array(["N1"] * 3, object)})
            three = b.send([{**ROW, "distance": 4}])
            assert [p["value"] for p in (await one.future).predictions] == [162.5, 163.5]
            assert [p["value"] for p in (await two.future).predictions] == [153.5, 154.5, 155.5]
            assert [p["value"] for p in (await three.future).predictions] == [156.5]
            assert len(b.predictor.calls) == 1

    run(go())


@pytest.mark.parametrize(
    ("rows", "field", "text"),
    [
        ([ROW, {"distance": "far", "tailnum": "N1"}], "rows[1].distance", "number"),
        ([ROW, {"distance": True, "tailnum": "N1"}], "rows[1].distance", "number"),
        ([ROW, {"tailnum": "N1"}], "rows[1].distance", "missing"),
        ([ROW, {"distance": None, "tailnum": "N1"}], "rows[1].distance", "missing"),
        ([ROW, {**ROW, "tailnum": 5}], "rows[1].tailnum", "string"),
        ([ROW, {**ROW, "wings": 2}], "rows[1].wings", "unknown feature; expected one of distance, tailnum, trip_id"),
        ([ROW, {**ROW, "seats": 2}], "rows[1].seats", "planes.seats"),
        ([ROW, {**ROW, "tailnum": "N0"}], "rows[1].weight", "no planes"),
        ([ROW, {**ROW, "tailnum": None}], "rows[1].weight", "no planes"),
        ([ROW, {**ROW, "trip_id": 2**63}], "rows[1].trip_id", "does not fit"),
    ],
)
def test_a_bad_row_fails_its_caller_alone(bench, run, rows, field, text):
    async def go():
        async with bench() as b:
            before, bad, after = b.send([ROW]), b.send(rows), b.send([ROW, ROW])
            with pytest.raises(InvalidInput) as caught:
                await bad.future
            assert caught.value.field == field
            assert text in caught.value.message
            assert (await before.future).predictions[0]["value"] == 162.5
            assert len((await after.future).predictions) == 2
            assert len(b.predictor.calls) == 1

    run(go())


def test_nan_from_an_encoding_fails_its_caller_alone(bench, run, features):
    own = bundle_files(
        features.replace("reject, encode: passthrough}\n  - {name: seats", "reject, encode: log1p}\n  - {name: seats").replace(
            "weight, type: float32, missing: reject", "weight, type: float32, missing: keep"
        )
    )

    async def go():
        async with bench(own) as b:
            b.predictor.compute = lambda t: {"y": np.nan_to_num(t["x"]).sum(axis=1, dtype=np.float32)}
            await b.put("planes", "N5", seats=1)
            zero = {**ROW, "distance": 0.0}
            before, bad, kept, worse, after = (
                b.send([zero]),
                b.send([zero, {**zero, "distance": -5}]),
                b.send([{**zero, "tailnum": "N5"}]),
                b.send(columns={"distance": np.array([-2], np.float32), "tailnum": np.array(["N1"], object)}),
                b.send([zero, zero]),
            )
            for sent, row, got in ((bad, 1, "-5"), (worse, 0, "-2")):
                with pytest.raises(InvalidInput) as caught:
                    await sent.future
                assert caught.value.field == f"rows[{row}].distance"
                assert caught.value.message.startswith("not a number after encoding (log1p); ")
                assert f"got {got}" in caught.value.message
                assert caught.value.bundle == f"flights@{b.predictor.digest}"
            assert [p["value"] for p in (await before.future).predictions] == [152.5]
            assert [(p["value"], p["data"]["weight"]) for p in (await kept.future).predictions] == [(1.0, None)]
            assert [p["value"] for p in (await after.future).predictions] == [152.5, 152.5]
            assert [call.inputs[0].shape for call in b.predictor.calls] == [(4, 3)]
            assert len(b.store.reads) == 1
            assert (await b.fails(InvalidInput, [{**zero, "distance": -5}])).field == "rows[0].distance"

    run(go())


def test_defaults_are_told(bench, run):
    async def go():
        async with bench() as b:
            await b.put("planes", "N3", weight=1.0)
            plain, defaulted = await asyncio.gather(b.ask([ROW]), b.ask([{**ROW, "tailnum": "N3"}]))
            assert plain.predictions[0]["defaulted"] == []
            (prediction,) = defaulted.predictions
            assert prediction["value"] == 111.0
            assert prediction["defaulted"] == ["seats"]
            assert prediction["data"]["seats"] == 100

    run(go())


def test_too_old_is_missing(bench, run):
    async def go():
        async with bench() as b:
            await b.put("planes", "N4", age_s=11 * 86400, seats=1, weight=1.0)
            error = await b.fails(InvalidInput, [{**ROW, "tailnum": "N4"}])
            assert error.field == "rows[0].weight"
            assert "864000 s" in error.message

    run(go())


def test_too_old_takes_the_default(bench, run, features):
    own = bundle_files(
        features.replace(
            "type: float32, missing: reject, encode: passthrough}\ntensors",
            "type: float32, missing: keep, encode: passthrough}\ntensors",
        )
    )

    async def go():
        async with bench(own) as b:
            b.predictor.compute = lambda t: {"y": np.nan_to_num(t["x"]).sum(axis=1, dtype=np.float32)}
            await b.put("planes", "N4", age_s=11 * 86400, seats=1, weight=1.0)
            (prediction,) = (await b.ask([{**ROW, "tailnum": "N4"}])).predictions
            assert prediction["defaulted"] == ["seats"]
            assert prediction["data"] == {"distance": 10.0, "seats": 100, "weight": None}
            assert prediction["ages_s"]["planes"] == pytest.approx(11 * 86400, abs=60)

    run(go())


def test_record(bench, run):
    async def go():
        async with bench() as b:
            record, plain = await asyncio.gather(b.ask(record_id="7"), b.ask([ROW]))
            assert record.predictions[0]["value"] == 162.5
            assert record.record == {"trip_id": 7, "distance": 10.0, "tailnum": "N1", "note": "early"}
            assert plain.record is None
            assert set(record.predictions[0]["ages_s"]) == {"trips", "planes"}

    run(go())


def test_record_errors(bench, run):
    async def go():
        async with bench() as b:
            good, gone = b.send([ROW]), b.send(record_id="8")
            with pytest.raises(NotFound):
                await gone.future
            assert (await good.future).predictions[0]["value"] == 162.5
            assert (await b.fails(InvalidInput, record_id="x")).field == "record"

    run(go())


@pytest.mark.parametrize(
    ("row", "field", "text"),
    [
        ({"trip_id": 8}, "rows[1].trip_id", "there is no record 8"),
        ({"trip_id": 8, "tailnum": "N1"}, "rows[1].trip_id", "there is no record 8"),
        ({"trip_id": 8, "distance": 1.0}, "rows[1].trip_id", "there is no record 8"),
        ({"trip_id": 8, "distance": 1.0, "tailnum": "N0"}, "rows[1].weight", "no planes"),
        ({"trip_id": 7, "tailnum": "N0"}, "rows[1].weight", "no planes"),
        ({"tailnum": "N1"}, "rows[1].distance", "missing; expected a float32"),
    ],
)
def test_a_row_of_an_unknown_record_is_told_so(bench, run, row, field, text):
    async def go():
        async with bench() as b:
            before, bad = b.send([ROW]), b.send([{"trip_id": 7}, row])
            with pytest.raises(InvalidInput) as caught:
                await bad.future
            assert caught.value.field == field
            assert text in caught.value.message
            assert (await before.future).predictions[0]["value"] == 162.5

    run(go())


def test_an_unknown_record_does_no_harm_to_a_row_that_brings_all(bench, run):
    async def go():
        async with bench() as b:
            assert [p["value"] for p in (await b.ask([{**ROW, "trip_id": 8}, {"trip_id": 7}])).predictions] == [162.5, 162.5]
            assert (await b.ask([{**ROW, "trip_id": 8}])).predictions[0]["value"] == 162.5

    run(go())


def test_stored_features_of_an_unknown_record(bench, run, features):
    own = bundle_files(features.replace("from: planes.weight, type: float32", "from: trips.distance, type: float32"))

    async def go():
        async with bench(own) as b:
            error = await b.fails(InvalidInput, [{**ROW, "trip_id": 8}])
            assert (error.field, error.message) == ("rows[0].trip_id", "there is no record 8")
            error = await b.fails(InvalidInput, [ROW])
            assert error.field == "rows[0].weight"

    run(go())


def test_a_row_wins_over_its_record(bench, run):
    async def go():
        async with bench() as b:
            answer = await b.ask([{"trip_id": 7, "distance": 1.0}, {"trip_id": 7}])
            assert [p["value"] for p in answer.predictions] == [153.5, 162.5]
            assert len(b.store.reads) == 2

    run(go())


def test_store_away_is_503_and_comes_back(bench, run):
    async def go():
        async with bench() as b:
            b.store.away = True
            await b.fails(UpstreamUnavailable, [ROW])
            b.store.away = False
            assert (await b.ask([ROW])).predictions[0]["value"] == 162.5
            assert b.transformer.counters.store_errors == 1

    run(go())


def test_store_away_with_defaults_is_degraded_and_says_so(bench, run, features):
    own = bundle_files(
        features.replace(
            "weight, from: planes.weight, type: float32, missing: reject",
            "weight, from: planes.weight, type: float32, missing: {default: 1.5}",
        )
    )

    async def go():
        async with bench(own) as b:
            b.store.away = True
            (prediction,) = (await b.ask([ROW])).predictions
            assert prediction["value"] == 111.5
            assert prediction["defaulted"] == ["seats", "weight"]
            assert prediction["degraded"] is True
            await b.fails(UpstreamUnavailable, record_id="7")
            assert b.transformer.counters.degraded == 1

    run(go())


def test_no_store_configured(bench, run):
    async def go():
        async with bench(store=False) as b:
            error = await b.fails(UpstreamUnavailable, [ROW])
            assert "--feature_store" in error.message

    run(go())


def test_empty_request(bench, run):
    async def go():
        async with bench() as b:
            answer = await b.ask([])
            assert answer.predictions == []
            assert answer.outputs["y"].shape == (0,)
            assert b.predictor.calls == []

    run(go())


def test_without_data(bench, run):
    async def go():
        async with bench() as b:
            with_data, without = await asyncio.gather(b.ask([ROW]), b.ask([ROW], options={"data": False}))
            assert "data" in with_data.predictions[0]
            assert "data" not in without.predictions[0]
            assert "data" not in (await b.ask([ROW], options={"data": False})).predictions[0]

    run(go())


def test_deadline_of_one_caller(bench, run):
    async def go():
        async with bench() as b:
            b.predictor.held = []
            hasty, patient = b.send([ROW], deadline=time.monotonic() + 0.05), b.send([ROW])
            with pytest.raises(DeadlineExceeded):
                await hasty.future
            b.predictor.release()
            assert (await patient.future).predictions[0]["value"] == 162.5
            assert hasty.count == 1

    run(go())


def test_a_caller_who_left_does_not_hurt(bench, run):
    async def go():
        async with bench() as b:
            b.predictor.held = []
            gone, stays = b.send([ROW]), b.send([ROW])
            gone.disconnected = True
            async with asyncio.timeout(10):
                await b.predictor.called.wait()
            b.predictor.release()
            assert (await stays.future).predictions[0]["value"] == 162.5

    run(go())


@pytest.mark.parametrize("kind", [InvalidInput, Internal])
def test_a_fault_in_the_model_is_pinned_on_its_caller(bench, run, kind):
    async def go():
        async with bench() as b:
            b.predictor.failure = lambda r: kind("no") if (r.inputs[0].array[:, 0] == 13).any() else None
            sent = [b.send([{**ROW, "distance": float(d)}]) for d in (12, 13, 14)]
            with pytest.raises(kind):
                await sent[1].future
            assert (await sent[0].future).predictions[0]["value"] == 164.5
            assert (await sent[2].future).predictions[0]["value"] == 166.5
            assert b.transformer.counters.split_batches == 1

    run(go())


@pytest.mark.parametrize("kind", [UpstreamUnavailable, Overloaded, DeadlineExceeded])
def test_what_the_predictor_answers_reaches_every_caller(bench, run, kind):
    async def go():
        async with bench() as b:
            b.predictor.failure = lambda r: kind("no")
            for reply in [b.send([ROW]), b.send([ROW])]:
                with pytest.raises(kind):
                    await reply.future
            assert len(b.predictor.calls) == 1

    run(go())


def test_an_output_that_cannot_be_split_is_a_fault(bench, run):
    async def go():
        async with bench() as b:
            b.predictor.compute = lambda t: {"y": np.zeros(1, np.float32)}
            sent = [b.send([ROW]), b.send([ROW, ROW])]
            assert (await sent[0].future).predictions[0]["value"] == 0
            with pytest.raises(Internal):
                await sent[1].future

    run(go())


def test_rows_that_interact_are_never_shared(bench, run, features):
    async def go():
        async with bench(bundle_files(features, independent=False)) as b:
            sent = [b.send([ROW]), b.send([ROW, ROW])]
            for reply in sent:
                await reply.future
            assert sorted(c.inputs[0].shape[0] for c in b.predictor.calls) == [1, 2]
            assert len(b.store.reads) == 1

    run(go())


def test_bulk_is_several_calls(bench, run):
    async def go():
        async with bench(max_call_rows=10) as b:
            answer = await b.ask([{**ROW, "distance": float(i)} for i in range(25)])
            assert [p["value"] for p in answer.predictions] == [152.5 + i for i in range(25)]
            assert [c.inputs[0].shape[0] for c in b.predictor.calls] == [10, 10, 5]

    run(go())


def test_expected_bundle(bench, run):
    async def go():
        async with bench() as b:
            await b.ask([ROW], expect_bundle=b.predictor.digest)
            await b.fails(WrongBundle, [ROW], expect_bundle="sha256:" + "0" * 64)
            await b.ask([ROW], version="7")
            await b.fails(NotFound, [ROW], version="8")
            await b.fails(NotFound, [ROW], model="other")

    run(go())


def tensors(**arrays):
    return [Tensor.from_array(name, array) for name, array in arrays.items()]


def test_v2_with_raw_features(bench, run):
    async def go():
        async with bench() as b:
            inputs = tensors(distance=np.array([[1.0], [2.0]], np.float32), tailnum=np.array([b"N1", b"N1"], object))
            answer = await infer(b.transformer, InferRequest("flights", inputs, Context("r")))
            assert [(t.name, t.array.tolist()) for t in answer.outputs] == [("y", [153.5, 154.5])]
            assert answer.bundle == b.predictor.label
            names = {t.name: (t.datatype, t.shape) for t in (await b.transformer.metadata("flights")).inputs}
            assert names == {"trip_id": ("INT64", (-1,)), "tailnum": ("BYTES", (-1,)), "distance": ("FP32", (-1,))}

    run(go())


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        (tensors(distance=np.zeros((2, 2), np.float32)), "inputs[0].shape"),
        (tensors(distance=np.zeros(2, np.float32), wings=np.zeros(2)), "wings"),
        (tensors(distance=np.zeros(2, np.float32), tailnum=np.array(["N1"], object)), "tailnum"),
        (tensors(distance=np.zeros(2, bool), tailnum=np.array(["N1"] * 2, object)), "rows[0].distance"),
        (tensors(distance=np.array([1, np.nan], "f4"), tailnum=np.array(["N1"] * 2, object)), "rows[1].distance"),
    ],
)
def test_v2_with_wrong_tensors(bench, run, inputs, field):
    async def go():
        async with bench() as b:
            with pytest.raises(InvalidInput) as caught:
                await infer(b.transformer, InferRequest("flights", inputs, Context("r")))
            assert caught.value.field == field

    run(go())


def test_v2_encoded_passes_through(bench, run):
    async def go():
        async with bench() as b:
            inputs = tensors(x=np.ones((2, 3), np.float32))
            request = InferRequest("flights", inputs, Context("r"), parameters={"encoded": True})
            answer = await infer(b.transformer, request)
            assert answer.outputs[0].array.tolist() == [3, 3]
            assert b.predictor.calls[0].context.expect_bundle == b.predictor.digest
            assert b.predictor.calls[0].parameters is None

    run(go())


def test_a_bundle_without_features(bench, run):
    async def go():
        async with bench(bundle_files(None)) as b:
            answer = await b.ask([{"x": [1, 2, 3]}, {"x": [4.5, 5, 6]}])
            assert [p["value"] for p in answer.predictions] == [6, 15.5]
            passed = await infer(b.transformer, InferRequest("flights", tensors(x=np.ones((1, 3), np.float32)), Context("r")))
            assert passed.outputs[0].array.tolist() == [3]
            for row, field in [
                ({"x": [1, 2]}, "rows[0].x"),
                ({"x": "a"}, "rows[0].x"),
                ({}, "rows[0].x"),
                ({"y": 1}, "rows[0].y"),
            ]:
                assert (await b.fails(InvalidInput, [row])).field == field

    run(go())


def test_queue_full(bench, run):
    async def go():
        async with bench(max_queue_items=2) as b:
            sent = [b.send([ROW]) for _ in range(3)]
            with pytest.raises(Overloaded):
                await sent[2].future
            assert (await sent[0].future).predictions

    run(go())

"""Rows in, predictions out: the whole path in one process, with a store in memory and a predictor that sums."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from penstock.errors import InvalidInput, NotFound, Overloaded, WrongBundle
from penstock.testing.bundles import bundle_files
from penstock_transformer.pipeline import Pipeline

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


def test_expected_bundle(bench, run):
    async def go():
        async with bench() as b:
            await b.ask([ROW], expect_bundle=b.predictor.digest)
            await b.fails(WrongBundle, [ROW], expect_bundle="sha256:" + "0" * 64)
            await b.ask([ROW], version="7")
            await b.fails(NotFound, [ROW], version="8")
            await b.fails(NotFound, [ROW], model="other")

    run(go())


def test_queue_full(bench, run):
    async def go():
        async with bench(max_queue_items=2) as b:
            sent = [b.send([ROW]) for _ in range(3)]
            with pytest.raises(Overloaded):
                await sent[2].future
            assert (await sent[0].future).predictions

    run(go())


def test_of_two_bundles_in_a_batch_the_one_with_fewer_rows_goes_first(run, monkeypatch):
    """Its requests are compared with the others' for how long they take."""
    begun = []

    async def finish(_, group):
        begun.append(group.rows)

    async def fetch(*_):
        return None

    monkeypatch.setattr(Pipeline, "_finish", finish)
    monkeypatch.setattr(Pipeline, "_fetch", fetch)
    groups = [SimpleNamespace(rows=rows, works=["a work"], begin=lambda: None) for rows in (7, 1, 3)]
    run(Pipeline(None, None)._run_groups(groups))
    assert begun == [1, 3, 7]

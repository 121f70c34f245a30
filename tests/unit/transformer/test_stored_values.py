"""Stored values on their way to the encoder: missing, too old, of a row without a key, of a record; never another row's."""

import asyncio

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, infer
from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.tensors import Tensor
from penstock.testing.bundles import bundle_files

ROW = {"distance": 10.0, "tailnum": "N1"}


def spec(features: str, stored: str = "float", weight: str = "{default: 1.0}") -> str:
    """The spec with a `weight` that is stored in the feature's own dtype and may be missing."""
    return features.replace("weight: double", f"weight: {stored}").replace(
        "weight, from: planes.weight, type: float32, missing: reject",
        f"weight, from: planes.weight, type: float32, missing: {weight}",
    )


def test_a_row_without_a_key_never_takes_the_values_of_another_row(bench, run, features):
    async def go():
        async with bench(bundle_files(spec(features))) as b:
            await b.put("planes", "N9", seats=9, weight=900.0)
            keyed, keyless = await asyncio.gather(
                b.ask([{**ROW, "tailnum": "N1"}, {**ROW, "tailnum": "N9"}]), b.ask([{"distance": 10.0, "tailnum": None}])
            )
            assert [p["value"] for p in keyed.predictions] == [162.5, 919.0]
            (prediction,) = keyless.predictions
            assert prediction["defaulted"] == ["seats", "weight"]
            assert prediction["data"] == {"distance": 10.0, "seats": 100, "weight": 1.0}
            assert prediction["value"] == 111.0
            assert len(b.predictor.calls) == 1

    run(go())


LISTS = """
formatVersion: 1
sets:
  cargo: {view: cargo, keys: {tailnum: tailnum}, maxAge: 10d}
features:
  - {name: loads, from: cargo.loads, type: list<float32>, length: 3, missing: {default: [1, 2, 3]}, encode: passthrough}
tensors: {x: [loads]}
store:
  project: test
  keySerialization: 3
  views: {cargo: {keys: {tailnum: string}, values: {loads: list<float>}}}
"""


def sums(tensors):
    return {"y": np.nan_to_num(tensors["x"]).sum(axis=1, dtype=np.float32)}


def test_lists_that_are_not_there(bench, run):
    async def go():
        async with bench(bundle_files(LISTS)) as b:
            b.predictor.compute = sums
            await b.put("cargo", "N1", loads=[10.0, 20.0])
            await b.put("cargo", "N2", age_s=11 * 86400, loads=[100.0])
            answers = await asyncio.gather(
                b.ask([{"tailnum": "N1"}]), b.ask([{"tailnum": "N2"}]), b.ask([{"tailnum": None}]), b.ask([{"tailnum": "N3"}])
            )
            assert [a.predictions[0]["value"] for a in answers] == [30.0, 6.0, 6.0, 6.0]
            assert [a.predictions[0]["defaulted"] for a in answers] == [[], ["loads"], ["loads"], ["loads"]]
            assert (await b.ask([{"tailnum": None}])).predictions[0]["value"] == 6.0

    run(go())


def test_a_record_that_is_too_old_fills_nothing_in(bench, run, features):
    """As in training: the point-in-time join holds what the record brings to the record's `maxAge` too."""
    own = bundle_files(spec(features).replace("keys: {trip_id: trip_id}}", "keys: {trip_id: trip_id}, maxAge: 1h}", 1))

    async def go():
        async with bench(own) as b:
            await b.put("trips", 8, age_s=7200, distance=20.0, tailnum="N1")
            old, fresh, brought = (
                b.send([{"trip_id": 8}]),
                b.send([{"trip_id": 7}]),
                b.send([{"trip_id": 8, "distance": 1.0}]),
            )
            with pytest.raises(InvalidInput) as caught:
                await old.future
            assert caught.value.field == "rows[0].distance"
            assert "7200 s old" in caught.value.message
            assert "3600 s is allowed" in caught.value.message
            assert (await fresh.future).predictions[0]["value"] == 162.5
            (prediction,) = (await brought.future).predictions
            assert (prediction["value"], prediction["defaulted"]) == (102.0, ["seats", "weight"])
            assert prediction["ages_s"]["trips"] == pytest.approx(7200, abs=60)

    run(go())


@pytest.mark.parametrize("stored", [1e39, -1e300])
def test_a_stored_number_that_the_feature_cannot_hold_is_refused(bench, run, stored):
    async def go():
        async with bench() as b:
            await b.put("planes", "N7", seats=1, weight=stored)
            good, bad = b.send([ROW]), b.send([ROW, {**ROW, "tailnum": "N7"}])
            with pytest.raises(InvalidInput) as caught:
                await bad.future
            assert caught.value.field == "rows[1].weight"
            assert "float32" in caught.value.message
            assert (await good.future).predictions[0]["value"] == 162.5

    run(go())


def test_stored_infinities_are_themselves(bench, run):
    async def go():
        async with bench() as b:
            await b.put("planes", "N7", seats=1, weight=float("inf"))
            assert (await b.ask([{**ROW, "tailnum": "N7"}])).outputs["y"].tolist() == [float("inf")]

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
    async def go():
        async with bench(bundle_files(spec(features, "double", "{default: 1.5}"))) as b:
            b.store.away = True
            (prediction,) = (await b.ask([ROW])).predictions
            assert prediction["value"] == 111.5
            assert prediction["defaulted"] == ["seats", "weight"]
            assert prediction["degraded"] is True
            await b.fails(UpstreamUnavailable, record_id="7")
            assert b.transformer.counters.degraded == 1
            inputs = [Tensor.from_array("distance", np.array([10.0], np.float32))]
            answer = await infer(b.transformer, InferRequest("flights", inputs, Context("r")))
            assert (answer.outputs[0].array.tolist(), answer.parameters) == ([111.5], {"degraded": True})
            b.store.away = False
            answer = await infer(b.transformer, InferRequest("flights", inputs, Context("r")))
            assert (answer.outputs[0].array.tolist(), answer.parameters) == ([111.5], None)

    run(go())


def test_store_away_fails_those_of_a_batch_that_rest_on_a_record_alone(bench, run, features):
    async def go():
        async with bench(bundle_files(spec(features, "double", "{default: 1.5}"))) as b:
            b.store.away = True
            sent = [b.send([ROW]), b.send(record_id="7"), b.send([{"trip_id": 7}]), b.send([{**ROW, "distance": 1.0}, ROW])]
            answers = await asyncio.gather(*(one.future for one in sent), return_exceptions=True)
            assert [[p["value"] for p in answers[at].predictions] for at in (0, 3)] == [[111.5], [102.5, 111.5]]
            assert [type(answers[at]) for at in (1, 2)] == [UpstreamUnavailable] * 2
            assert (b.transformer.counters.degraded, len(b.predictor.calls)) == (2, 1)

    run(go())


def test_a_features_own_max_age_is_for_it_alone(bench, run, features):
    own = spec(features, "double", "{default: 1.0}, maxAge: 1h").replace("planes.seats, type", "planes.seats, maxAge: 30d, type")

    async def go():
        async with bench(bundle_files(own)) as b:
            for name, age_s in (("N5", 7200), ("N6", 20 * 86400), ("N7", 60)):
                await b.put("planes", name, age_s=age_s, seats=5, weight=2.0)
            answer = await b.ask([{**ROW, "tailnum": name} for name in ("N5", "N6", "N7")])
            assert [p["value"] for p in answer.predictions] == [16.0, 16.0, 17.0]
            assert [p["defaulted"] for p in answer.predictions] == [["weight"], ["weight"], []]
            assert answer.predictions[1]["ages_s"]["planes"] == pytest.approx(20 * 86400, abs=60)

    run(go())


def test_no_store_configured(bench, run):
    async def go():
        async with bench(store=False) as b:
            error = await b.fails(UpstreamUnavailable, [ROW])
            assert "--feature_store" in error.message

    run(go())

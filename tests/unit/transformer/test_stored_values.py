"""Stored values on their way to the encoder: missing, too old, of a row without a key, of a record; never another row's."""

import asyncio

import numpy as np

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

"""Tensors instead of rows: raw features by name, the model's own tensors, and bundles without features."""

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, infer
from penstock.errors import InvalidInput
from penstock.tensors import Tensor
from penstock.testing.bundles import bundle_files


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

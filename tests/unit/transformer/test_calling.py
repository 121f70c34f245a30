"""How a batch becomes calls: one, or several side by side; what becomes of the others when one fails, and when nobody waits."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from penstock.dataplane import Context, InferResponse
from penstock.errors import Internal, NotFound, PenstockError, UpstreamUnavailable, WrongBundle
from penstock.tensors import Tensor
from penstock_transformer.calling import call_rows


class Predictor:
    """Answers with its input; `best`: its best size; `hold` keeps answers back, `error` is the answer to the first call."""

    def __init__(self, best=0):
        self.best = best
        self.sizes = []
        self.replies = []
        self.hold = False
        self.error = None
        self.bundle = "m@d"

    def call_rows(self, model):
        assert model == "m"
        return self.best

    def submit(self, request, reply):
        array = request.inputs[0].array
        self.sizes.append(len(array))
        self.replies.append(reply)
        error, self.error = self.error, None
        if error is not None:
            reply.error(error)
        elif not self.hold:
            reply.put(InferResponse("m", [Tensor.from_array("y", array * 2)], bundle=self.bundle))


def bundle_of(predictor, independent=True, expect="d"):
    return SimpleNamespace(
        predictor=predictor, predictor_model="m", independent=independent, expect=expect, label="m@d", lengths=None
    )


def called(predictor, bounds, *, max_rows=4096, wanted=lambda: True, **bundle):
    tensors = {"x": np.arange(bounds[-1], dtype=np.float32)}

    async def go():
        return await call_rows(bundle_of(predictor, **bundle), tensors, bounds, Context("r"), max_rows=max_rows, wanted=wanted)

    outputs = asyncio.run(go())
    assert outputs["y"].tolist() == [2.0 * row for row in range(bounds[-1])]
    return predictor.sizes


@pytest.mark.parametrize(
    ("best", "rows", "max_rows", "sizes"),
    [
        (0, 100, 4096, [100]),
        (0, 100, 40, [40, 40, 20]),
        (32, 63, 4096, [63]),
        (32, 64, 4096, [32, 32]),
        (32, 100, 4096, [32, 32, 32, 4]),
        (32, 100, 16, [16] * 6 + [4]),
    ],
)
def test_large_batches_are_split_where_there_are_pods_to_spread_over(best, rows, max_rows, sizes):
    assert called(Predictor(best), [0, 10, rows], max_rows=max_rows) == sizes


def test_a_predictor_that_knows_no_best_size_gets_one_call():
    class Plain(Predictor):
        call_rows = None

    assert called(Plain(), [0, 100]) == [100]


def test_callers_whose_rows_interact_share_no_call():
    assert called(Predictor(2), [0, 3, 10], independent=False) == [3, 7]
    assert called(Predictor(2), [0, 10], independent=False) == [10]


@pytest.mark.parametrize(
    ("error", "told"), [(Internal("x"), Internal), (NotFound("x"), UpstreamUnavailable), (WrongBundle("x"), WrongBundle)]
)
def test_a_part_that_fails_gives_up_the_others(error, told):
    predictor = Predictor(10)
    predictor.hold, predictor.error = True, error

    async def go():
        with pytest.raises(told):
            await call_rows(
                bundle_of(predictor), {"x": np.zeros(40, np.float32)}, [0, 40], Context("r"), max_rows=99, wanted=lambda: True
            )
        await asyncio.sleep(0)
        assert [reply.disconnected for reply in predictor.replies[1:]] == [True] * 3

    asyncio.run(go())


def test_a_call_is_gone_when_nobody_waits():
    predictor, waiting = Predictor(), [True]
    predictor.hold = True

    async def go():
        task = asyncio.ensure_future(
            call_rows(bundle_of(predictor), {"x": np.zeros(1)}, [0, 1], Context("r"), max_rows=9, wanted=lambda: waiting[0])
        )
        await asyncio.sleep(0)
        assert not predictor.replies[0].disconnected
        waiting[0] = False
        assert predictor.replies[0].disconnected
        predictor.replies[0].error(PenstockError("gone"))
        with pytest.raises(PenstockError):
            await task

    asyncio.run(go())


def test_another_bundle_is_refused():
    predictor = Predictor()
    predictor.bundle = "m@other"

    async def go():
        with pytest.raises(WrongBundle):
            await call_rows(bundle_of(predictor), {"x": np.zeros(1)}, [0, 1], Context("r"), max_rows=9, wanted=lambda: True)

    asyncio.run(go())

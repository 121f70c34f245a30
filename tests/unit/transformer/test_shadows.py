"""Copies for shadows: of rows and of tensors that pass through; what a shadow does reaches no caller."""

import asyncio

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, infer
from penstock.errors import Internal, Overloaded
from penstock.tensors import Tensor
from penstock.testing.bundles import FakePredictor, bundle_files
from penstock_transformer.active import ActiveBundle
from penstock_transformer.routing import Route, Target


def encoded(rows=1, **parameters):
    tensor = Tensor.from_array("x", np.ones((rows, 3), np.float32))
    return InferRequest("flights", [tensor], Context("r", traceparent="00-a-b-01"), parameters={"encoded": True, **parameters})


def shadow_of(bench):
    """A shadow bundle behind a predictor of its own, in the bench's route."""
    live = bench.transformer.table.route.live[0].bundle
    predictor = FakePredictor(bench.predictor.files)
    bundle = ActiveBundle(live.manifest, predictor.digest, predictor, "flights")
    bench.transformer.table.apply(Route(1, (Target(live),), (Target(bundle, fraction=1.0),)))
    return predictor


async def settled(predictor, calls):
    while len(predictor.calls) < calls:
        predictor.called.clear()
        await predictor.called.wait()
    for _ in range(3):
        await asyncio.sleep(0)


def test_tensors_that_pass_through_are_copied(bench, run):
    async def go():
        async with bench() as b:
            shadow = shadow_of(b)
            answer = await infer(b.transformer, encoded(kept=1))
            assert answer.outputs[0].array.tolist() == [3]
            await settled(shadow, 1)
            (copy,) = shadow.calls
            assert copy.context.request_id == "r-shadow"
            assert copy.context.traceparent == "00-a-b-01"
            assert copy.context.expect_bundle == shadow.digest
            assert copy.parameters == {"kept": 1}
            assert copy.inputs[0].array.tolist() == [[1, 1, 1]]
            assert (b.transformer.counters.shadow_copies, b.transformer.counters.shadow_errors) == (1, 0)
            assert not b.transformer.shadows._passing

    run(go())


@pytest.mark.parametrize(("error", "counter"), [(Internal("x"), "shadow_errors"), (Overloaded("x"), "shadow_dropped")])
def test_a_shadow_that_fails_is_counted_and_nothing_else(bench, run, error, counter):
    async def go():
        async with bench() as b:
            shadow = shadow_of(b)
            shadow.failure = lambda _: error
            assert (await infer(b.transformer, encoded())).outputs[0].array.tolist() == [3]
            await settled(shadow, 1)
            assert getattr(b.transformer.counters, counter) == 1

    run(go())


def test_a_shadow_that_hangs_gets_so_many_copies_and_no_more(bench, run):
    async def go():
        async with bench(shadow_queue_items=2) as b:
            shadow = shadow_of(b)
            shadow.held = []
            for _ in range(5):
                await infer(b.transformer, encoded())
            assert len(shadow.calls) == 2
            assert (b.transformer.counters.shadow_copies, b.transformer.counters.shadow_dropped) == (5, 3)
            replies = [reply for _, reply in shadow.held]
            await b.transformer.shadows.close()
            assert all(reply.disconnected for reply in replies)
            shadow.release()
            assert b.transformer.shadows._passing_bytes == 0

    run(go())


def test_a_request_that_names_its_bundle_has_no_copies(bench, run):
    async def go():
        async with bench() as b:
            shadow = shadow_of(b)
            request = encoded()
            request.context.expect_bundle = b.predictor.digest
            await infer(b.transformer, request)
            await asyncio.sleep(0)
            assert not shadow.calls

    run(go())


@pytest.mark.parametrize(("plan", "copied"), [(False, 1), (True, 0)])
def test_raw_tensors_are_copied_only_to_bundles_that_take_them(bench, run, plan, copied):
    async def go():
        async with bench(bundle_files(None)) as b:
            shadow = shadow_of(b)
            if plan:
                (target,) = b.transformer.table.route.shadows
                target.bundle.plan = object()
            request = encoded()
            request.parameters = None
            assert (await infer(b.transformer, request)).outputs[0].array.tolist() == [3]
            for _ in range(3):
                await asyncio.sleep(0)
            assert len(shadow.calls) == copied

    run(go())

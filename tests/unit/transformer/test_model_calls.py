"""Calls of the model: shared by callers, ended for each alone, whatever the model or its predictor answers."""

import asyncio
import time

import numpy as np
import pytest

from penstock.errors import DeadlineExceeded, Internal, InvalidInput, Overloaded, UpstreamUnavailable
from penstock.testing.bundles import bundle_files

ROW = {"distance": 10.0, "tailnum": "N1"}


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

"""Copies for shadows: of rows and of tensors that pass through; what a shadow does reaches no caller."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from penstock.dataplane import infer
from penstock.errors import Cancelled, Internal, Overloaded
from penstock.testing.bundles import bundle_files
from penstock_transformer import shadowing

ROW = {"tailnum": "N1", "distance": 1.0}


def test_tensors_that_pass_through_are_copied(bench, run):
    async def go():
        async with bench() as b:
            shadow = b.shadow()
            answer = await infer(b.transformer, b.encoded(kept=1))
            assert answer.outputs[0].array.tolist() == [3]
            await b.called(shadow, 1)
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
            shadow = b.shadow()
            shadow.failure = lambda _: error
            assert (await infer(b.transformer, b.encoded())).outputs[0].array.tolist() == [3]
            await b.called(shadow, 1)
            assert getattr(b.transformer.counters, counter) == 1

    run(go())


def test_a_shadow_that_hangs_gets_so_many_copies_and_no_more(bench, run):
    async def go():
        async with bench(shadow_queue_items=2) as b:
            shadow = b.shadow()
            shadow.held = []
            for _ in range(5):
                await infer(b.transformer, b.encoded())
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
            shadow = b.shadow()
            request = b.encoded()
            request.context.expect_bundle = b.predictor.digest
            await infer(b.transformer, request)
            await asyncio.sleep(0)
            assert not shadow.calls

    run(go())


@pytest.mark.parametrize(("plan", "copied"), [(False, 1), (True, 0)])
def test_raw_tensors_are_copied_only_to_bundles_that_take_them(bench, run, plan, copied):
    async def go():
        async with bench(bundle_files(None)) as b:
            shadow = b.shadow()
            if plan:
                (target,) = b.transformer.table.route.shadows
                target.bundle.plan = object()
            request = b.encoded()
            request.parameters = None
            assert (await infer(b.transformer, request)).outputs[0].array.tolist() == [3]
            for _ in range(3):
                await asyncio.sleep(0)
            assert len(shadow.calls) == copied

    run(go())


def test_what_a_copy_waits_for_its_batch_is_not_taken_from_its_time(bench, run, monkeypatch):
    """One batch of copies at a time: else more copies than requests would be late, of an equal version."""

    async def go():
        async with bench() as b:
            shadow = b.shadow(whole=True)
            began = now = time.monotonic()
            monkeypatch.setattr(shadowing, "time", SimpleNamespace(monotonic=lambda: now))
            shadow.held = []
            await b.ask([ROW])
            await b.called(shadow, 1)
            await b.ask([ROW], deadline=began + 10.0)
            now = began + 15.0
            shadow.release()
            await b.called(shadow, 2)
            assert shadow.calls[1].context.deadline == pytest.approx(began + 25.0)
            await b.copied(2)
            assert b.counted()[1].errors == {}

    run(go())


def test_a_copy_of_a_request_that_waits_in_vain_is_not_made(bench, run):
    """Nobody counts the request: no bundle was chosen for it."""

    async def go():
        async with bench() as b:
            b.shadow(whole=True)
            reply = b.send([ROW])
            reply.disconnected = True
            with pytest.raises(Cancelled):
                await reply.future
            assert b.transformer.counters.shadow_copies == 0
            assert [one.requests for one in b.counted()] == [0, 0]

    run(go())

"""Copies for shadows: of rows and of tensors that pass through; what a shadow does reaches no caller; and copies are counted as
requests are: by key, window and deadline."""

import asyncio
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, infer
from penstock.errors import Cancelled, DeadlineExceeded, Internal, Overloaded, PenstockError
from penstock.tensors import Tensor
from penstock.testing.bundles import FakePredictor, bundle_files
from penstock_transformer import shadowing
from penstock_transformer.active import ActiveBundle
from penstock_transformer.routing import Route, Target

ROW = {"tailnum": "N1", "distance": 1.0}


def encoded(rows=1, context=None, value=1.0, **parameters):
    tensor = Tensor.from_array("x", np.full((rows, 3), value, np.float32))
    given = Context("r", traceparent="00-a-b-01", **(context or {}))
    return InferRequest("flights", [tensor], given, parameters={"encoded": True, **parameters})


def shadow_of(bench, fraction=1.0, *, whole=False):
    """A shadow bundle behind a predictor of its own, in the bench's route; `whole`: with features, as the live one."""
    live = bench.transformer.table.route.live[0].bundle
    predictor = FakePredictor(bench.predictor.files)
    features = {"plan": live.plan, "encoder": live.encoder, "store": live.store} if whole else {}
    bundle = ActiveBundle(live.manifest, predictor.digest, predictor, "flights", **features)
    bench.transformer.table.apply(Route(1, (Target(live),), (Target(bundle, fraction=fraction),)))
    return predictor


def counted(bench):
    """What is counted of requests, and of copies."""
    by_mode = {entry.shadow: entry for entry in bench.transformer.table.recorder.entries() if entry.revision == 1}
    return by_mode[False], by_mode[True]


def values_of(predictor):
    """The first value of every row that it was sent."""
    return [value for call in predictor.calls for value in call.inputs[0].array[:, 0].tolist()]


async def until(bench, copies):
    """All of these copies are counted."""
    while counted(bench)[1].requests < copies:  # noqa: ASYNC110 what is waited for is on this loop; the test has a deadline
        await asyncio.sleep(0.001)


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


@pytest.mark.parametrize("passing", [True, False])
def test_copies_are_counted_by_the_keys_that_requests_are_counted_by(bench, run, passing):
    async def go():
        async with bench() as b:
            shadow_of(b, whole=not passing)
            for at in range(12):
                context = {"route_key": f"caller {at % 3}"} if at < 9 else {}
                if passing:
                    await infer(b.transformer, encoded(context=context))
                else:
                    await b.ask([ROW], **context)
            await until(b, 12)
            live, copied = counted(b)
            assert (live.requests, live.keys) == (copied.requests, copied.keys) == (12, 6)

    run(go())


def test_records_are_keys_of_copies_as_of_requests(bench, run):
    async def go():
        async with bench() as b:
            shadow_of(b, whole=True)
            for _ in range(3):
                await b.fails(PenstockError, record_id="nine")
            await until(b, 3)
            live, copied = counted(b)
            assert (live.keys, sum(live.failed_keys.values())) == (copied.keys, sum(copied.failed_keys.values())) == (1, 1)

    run(go())


@pytest.mark.parametrize("passing", [True, False])
def test_of_a_key_all_requests_of_a_window_are_copied_or_none_is(bench, run, passing, monkeypatch):
    """Else the key of a copied caller would have fewer chances to fail than that of a caller; each window draws anew."""

    async def go():
        async with bench() as b:
            shadow = shadow_of(b, 0.5, whole=not passing)
            monkeypatch.setattr(b.transformer.shadows, "_secret", bytes(8))
            drawn = []
            for minute in (1, 2):
                clock = SimpleNamespace(monotonic=lambda minute=minute: 6e9 + 60.0 * minute)
                monkeypatch.setattr(shadowing, "time", clock)
                shadow.calls.clear()
                for at in range(120):
                    caller = float(at % 24)
                    context = {"route_key": f"caller {caller}"}
                    if passing:
                        await infer(b.transformer, encoded(context=context, value=caller))
                    else:
                        await b.ask([{**ROW, "distance": caller}], **context)
                await until(b, b.transformer.counters.shadow_copies)
                found = values_of(shadow)
                assert set(Counter(found).values()) == {5}
                drawn.append(set(found))
            assert 4 < len(drawn[0]) < 20
            assert drawn[0] != drawn[1]

    run(go())


@pytest.mark.parametrize("passing", [True, False])
def test_once_a_copy_has_no_room_no_key_is_counted_until_the_window_is_over(bench, run, passing, monkeypatch):
    """Of requests nor of copies: up to then both have all. A shadow that is slow would look better with a part of them."""

    async def go():
        async with bench(shadow_queue_items=2) as b:
            shadow = shadow_of(b, whole=not passing)
            shadow.held = []
            minute = 1
            monkeypatch.setattr(shadowing, "time", SimpleNamespace(monotonic=lambda: 6e9 + 60.0 * minute))

            async def ask(caller):
                context = {"route_key": caller} if caller else {}
                if passing:
                    await infer(b.transformer, encoded(context=context))
                else:
                    await b.ask([ROW], **context)

            for caller in range(8):
                await ask(f"caller {caller}")
            dropped = b.transformer.counters.shadow_dropped
            taken = 8 - dropped
            assert 2 <= taken <= 4
            shadow.release()
            await until(b, taken)
            await ask("another caller")
            await ask("")
            await until(b, taken + 2)
            live, copied = counted(b)
            assert (live.requests, live.keys, live.unkeyed) == (10, taken + 1, dropped + 1)
            assert (copied.requests, copied.keys, copied.unkeyed) == (taken + 2, taken + 1, 1)
            minute = 2
            await ask("another caller")
            await until(b, taken + 3)
            assert [one.keys for one in counted(b)] == [taken + 2, taken + 2]

    run(go())


def test_what_is_too_large_to_be_copied_is_counted_by_no_key_whether_it_is_drawn_or_not(bench, run):
    async def go():
        async with bench(shadow_queue_mb=1) as b:
            shadow_of(b, 0.5)
            b.transformer.shadows._secret = bytes(8)
            for caller in range(20):
                await infer(b.transformer, encoded(rows=100_000, context={"route_key": f"caller {caller}"}))
            await infer(b.transformer, encoded(context={"route_key": "small"}))
            live, copied = counted(b)
            assert (live.requests, live.keys, live.unkeyed, copied.unkeyed) == (21, 1, 20, 0)
            assert 0 < b.transformer.counters.shadow_dropped < 20

    run(go())


@pytest.mark.parametrize("passing", [True, False])
def test_a_copy_misses_its_deadline_as_its_request_does(bench, run, passing):
    async def go():
        async with bench() as b:
            shadow = shadow_of(b, whole=not passing)
            b.predictor.held, shadow.held = [], []
            deadline = time.monotonic() + 0.05
            if passing:
                task = asyncio.ensure_future(infer(b.transformer, encoded(context={"deadline": deadline})))
                await settled(shadow, 1)
                assert shadow.calls[0].context.deadline == b.predictor.calls[0].context.deadline == deadline
                b.predictor.release()
                shadow.release()
                await task
                return
            with pytest.raises(DeadlineExceeded):
                await b.ask([ROW], deadline=deadline)
            await settled(shadow, 1)
            b.predictor.release()
            shadow.release()
            await until(b, 1)
            live, copied = counted(b)
            assert live.errors == copied.errors == {"deadline_exceeded": 1}
            assert copied.paired.both_failed == 1

    run(go())


def test_what_a_copy_waits_for_its_batch_is_not_taken_from_its_time(bench, run, monkeypatch):
    """One batch of copies at a time: else more copies than requests would be late, of an equal version."""

    async def go():
        async with bench() as b:
            shadow = shadow_of(b, whole=True)
            began = now = time.monotonic()
            monkeypatch.setattr(shadowing, "time", SimpleNamespace(monotonic=lambda: now))
            shadow.held = []
            await b.ask([ROW])
            await settled(shadow, 1)
            await b.ask([ROW], deadline=began + 10.0)
            now = began + 15.0
            shadow.release()
            await settled(shadow, 2)
            assert shadow.calls[1].context.deadline == pytest.approx(began + 25.0)
            await until(b, 2)
            assert counted(b)[1].errors == {}

    run(go())


@pytest.mark.parametrize("leaves", ["the caller", "the copy"])
def test_a_pair_that_one_side_of_was_given_up_says_nothing(bench, run, leaves):
    async def go():
        async with bench() as b:
            shadow = shadow_of(b, whole=True)
            predictor = b.predictor if leaves == "the caller" else shadow
            predictor.failure = lambda _: Cancelled("the caller is gone")
            if leaves == "the caller":
                await b.fails(Cancelled, [ROW])
            else:
                await b.ask([ROW])
            predictor.failure = None
            await b.ask([ROW])
            await until(b, 2)
            paired = counted(b)[1].paired
            assert (paired.requests, paired.left_out) == (1, 1)
            assert (paired.only_answer_failed, paired.only_shadow_failed, paired.both_failed) == (0, 0, 0)

    run(go())


def test_a_copy_of_a_request_that_waits_in_vain_is_not_made(bench, run):
    """Nobody counts the request: no bundle was chosen for it."""

    async def go():
        async with bench() as b:
            shadow_of(b, whole=True)
            reply = b.send([ROW])
            reply.disconnected = True
            with pytest.raises(Cancelled):
                await reply.future
            assert b.transformer.counters.shadow_copies == 0
            assert [one.requests for one in counted(b)] == [0, 0]

    run(go())


def test_who_always_fails_does_so_in_each_window_of_requests_and_of_copies(bench, run, monkeypatch):
    async def go():
        async with bench() as b:
            shadow = shadow_of(b)
            b.predictor.failure = shadow.failure = lambda _: Internal("broken")
            for minute in (1, 2):
                monkeypatch.setattr(shadowing, "time", SimpleNamespace(monotonic=lambda minute=minute: 6e9 + 60.0 * minute))
                for _ in range(3):
                    with pytest.raises(Internal):
                        await infer(b.transformer, encoded(context={"route_key": "anna"}))
            await until(b, 6)
            assert [(one.keys, one.failed_keys) for one in counted(b)] == [(2, {"internal": 2})] * 2

    run(go())

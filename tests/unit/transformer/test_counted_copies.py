"""Copies are counted as requests are: by key, window and deadline."""

import asyncio
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from penstock.dataplane import infer
from penstock.errors import Cancelled, DeadlineExceeded, Internal, PenstockError
from penstock_transformer import shadowing

ROW = {"tailnum": "N1", "distance": 1.0}


def values_of(predictor):
    """The first value of every row that it was sent."""
    return [value for call in predictor.calls for value in call.inputs[0].array[:, 0].tolist()]


@pytest.mark.parametrize("passing", [True, False])
def test_copies_are_counted_by_the_keys_that_requests_are_counted_by(bench, run, passing):
    async def go():
        async with bench() as b:
            b.shadow(whole=not passing)
            for at in range(12):
                context = {"route_key": f"caller {at % 3}"} if at < 9 else {}
                if passing:
                    await infer(b.transformer, b.encoded(context=context))
                else:
                    await b.ask([ROW], **context)
            await b.copied(12)
            live, copied = b.counted()
            assert (live.requests, live.keys) == (copied.requests, copied.keys) == (12, 6)

    run(go())


def test_records_are_keys_of_copies_as_of_requests(bench, run):
    async def go():
        async with bench() as b:
            b.shadow(whole=True)
            for _ in range(3):
                await b.fails(PenstockError, record_id="nine")
            await b.copied(3)
            live, copied = b.counted()
            assert (live.keys, sum(live.failed_keys.values())) == (copied.keys, sum(copied.failed_keys.values())) == (1, 1)

    run(go())


@pytest.mark.parametrize("passing", [True, False])
def test_of_a_key_all_requests_of_a_window_are_copied_or_none_is(bench, run, passing, monkeypatch):
    """Else the key of a copied caller would have fewer chances to fail than that of a caller; each window draws anew."""

    async def go():
        async with bench() as b:
            shadow = b.shadow(0.5, whole=not passing)
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
                        await infer(b.transformer, b.encoded(context=context, value=caller))
                    else:
                        await b.ask([{**ROW, "distance": caller}], **context)
                await b.copied(b.transformer.counters.shadow_copies)
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
            shadow = b.shadow(whole=not passing)
            shadow.held = []
            minute = 1
            monkeypatch.setattr(shadowing, "time", SimpleNamespace(monotonic=lambda: 6e9 + 60.0 * minute))

            async def ask(caller):
                context = {"route_key": caller} if caller else {}
                if passing:
                    await infer(b.transformer, b.encoded(context=context))
                else:
                    await b.ask([ROW], **context)

            for caller in range(8):
                await ask(f"caller {caller}")
            dropped = b.transformer.counters.shadow_dropped
            taken = 8 - dropped
            assert 2 <= taken <= 4
            shadow.release()
            await b.copied(taken)
            await ask("another caller")
            await ask("")
            await b.copied(taken + 2)
            live, copied = b.counted()
            assert (live.requests, live.keys, live.unkeyed) == (10, taken + 1, dropped + 1)
            assert (copied.requests, copied.keys, copied.unkeyed) == (taken + 2, taken + 1, 1)
            minute = 2
            await ask("another caller")
            await b.copied(taken + 3)
            assert [one.keys for one in b.counted()] == [taken + 2, taken + 2]

    run(go())


def test_what_is_too_large_to_be_copied_is_counted_by_no_key_whether_it_is_drawn_or_not(bench, run):
    async def go():
        async with bench(shadow_queue_mb=1) as b:
            b.shadow(0.5)
            b.transformer.shadows._secret = bytes(8)
            for caller in range(20):
                await infer(b.transformer, b.encoded(rows=100_000, context={"route_key": f"caller {caller}"}))
            await infer(b.transformer, b.encoded(context={"route_key": "small"}))
            live, copied = b.counted()
            assert (live.requests, live.keys, live.unkeyed, copied.unkeyed) == (21, 1, 20, 0)
            assert 0 < b.transformer.counters.shadow_dropped < 20

    run(go())


@pytest.mark.parametrize("passing", [True, False])
def test_a_copy_misses_its_deadline_as_its_request_does(bench, run, passing):
    async def go():
        async with bench() as b:
            shadow = b.shadow(whole=not passing)
            b.predictor.held, shadow.held = [], []
            # What is missed is so late that a busy machine has made both calls by then.
            deadline = time.monotonic() + (60.0 if passing else 1.0)
            if passing:
                task = asyncio.ensure_future(infer(b.transformer, b.encoded(context={"deadline": deadline})))
                await b.called(shadow, 1)
                assert shadow.calls[0].context.deadline == b.predictor.calls[0].context.deadline == deadline
                b.predictor.release()
                shadow.release()
                await task
                return
            with pytest.raises(DeadlineExceeded):
                await b.ask([ROW], deadline=deadline)
            await b.called(shadow, 1)
            b.predictor.release()
            shadow.release()
            await b.copied(1)
            live, copied = b.counted()
            assert live.errors == copied.errors == {"deadline_exceeded": 1}
            assert copied.paired.both_failed == 1

    run(go())


@pytest.mark.parametrize("leaves", ["the caller", "the copy"])
def test_a_pair_that_one_side_of_was_given_up_says_nothing(bench, run, leaves):
    async def go():
        async with bench() as b:
            shadow = b.shadow(whole=True)
            predictor = b.predictor if leaves == "the caller" else shadow
            predictor.failure = lambda _: Cancelled("the caller is gone")
            if leaves == "the caller":
                await b.fails(Cancelled, [ROW])
            else:
                await b.ask([ROW])
            predictor.failure = None
            await b.ask([ROW])
            await b.copied(2)
            paired = b.counted()[1].paired
            assert (paired.requests, paired.left_out) == (1, 1)
            assert (paired.only_answer_failed, paired.only_shadow_failed, paired.both_failed) == (0, 0, 0)

    run(go())


def test_who_always_fails_does_so_in_each_window_of_requests_and_of_copies(bench, run, monkeypatch):
    async def go():
        async with bench() as b:
            shadow = b.shadow()
            b.predictor.failure = shadow.failure = lambda _: Internal("broken")
            for minute in (1, 2):
                monkeypatch.setattr(shadowing, "time", SimpleNamespace(monotonic=lambda minute=minute: 6e9 + 60.0 * minute))
                for _ in range(3):
                    with pytest.raises(Internal):
                        await infer(b.transformer, b.encoded(context={"route_key": "anna"}))
            await b.copied(6)
            assert [(one.keys, one.failed_keys) for one in b.counted()] == [(2, {"internal": 2})] * 2

    run(go())

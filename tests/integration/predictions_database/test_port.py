"""What every implementation of the port does: memory, SQLite, PostgreSQL."""

import asyncio
from typing import Any

import pytest

from penstock.errors import Conflict, InvalidInput, NotFound
from penstock_transformer.predictions.port import Filter, KeyReused
from penstock_transformer.predictions.resource import Ending, Payload, State

JSON = (("content-type", b"application/json"),)


def test_a_prediction_is_kept_as_it_was_submitted(run: Any, new: Any) -> None:
    async def case(p: Any) -> None:
        asked = new(
            b"\x00\xff",
            idempotency_key="k",
            webhook="https://example.com/hook",
            keep_s=60.0,
            key=b"\x80",
            headers=(("traceparent", b"00-1"), ("penstock-priority", b"2"), ("traceparent", b"00-2")),
            created_s=1_700_000_000.123456,
        )
        prediction, is_new = await p.submit(asked)
        assert is_new
        assert await p.get(asked.id, "ann") == prediction or _same(await p.get(asked.id, "ann"), prediction)
        assert (prediction.id, prediction.model, prediction.owner, prediction.rows) == (asked.id, "m", "ann", 1)
        assert (prediction.state, prediction.idempotency_key, prediction.webhook) == (State.STARTING, "k", asked.webhook)
        assert prediction.created_s == asked.created_s
        assert prediction.started_s is prediction.ended_s is prediction.expires_s is prediction.result is None
        kept = await p.input(asked.id, "ann")
        assert (kept.body, kept.headers, kept.nbytes, kept.reference) == (b"\x00\xff", JSON, 2, None)

    run(case)


def test_a_large_input_is_kept_by_its_reference(run: Any, new: Any) -> None:
    async def case(p: Any) -> None:
        asked = new(payload=Payload(None, JSON, 10**7, "s3://bucket/1"))
        await p.submit(asked)
        kept = await p.input(asked.id, None)
        assert (kept.body, kept.headers, kept.nbytes, kept.reference) == (None, JSON, 10**7, "s3://bucket/1")

    run(case)


def test_somebody_elses_prediction_is_not_found(run: Any, new: Any) -> None:
    async def case(p: Any) -> None:
        asked = new()
        await p.submit(asked)
        for call in (p.get, p.input, p.cancel):
            with pytest.raises(NotFound):
                await call(asked.id, "bob")
            with pytest.raises(NotFound):
                await call("no such", None)
        assert (await p.get(asked.id, None)).owner == "ann"

    run(case)


def test_a_key_answers_the_first(run: Any, new: Any) -> None:
    async def case(p: Any) -> None:
        first, _ = await p.submit(new(idempotency_key="k"))
        again, is_new = await p.submit(new(idempotency_key="k"))
        assert (again.id, is_new) == (first.id, False)
        with pytest.raises(KeyReused):
            await p.submit(new(b"other", idempotency_key="k"))
        _, others = await p.submit(new(b"other", idempotency_key="k", owner="bob"))
        assert others

    run(case)


def test_a_key_used_many_times_at_once_has_one_prediction(run: Any, new: Any) -> None:
    async def case(p: Any) -> None:
        answers = await asyncio.gather(*(p.submit(new(idempotency_key=f"k{i % 3}")) for i in range(60)))
        assert sum(is_new for _, is_new in answers) == 3
        assert len({prediction.id for prediction, _ in answers}) == 3
        mixed = await asyncio.gather(
            *(p.submit(new(b"%d" % (i % 2), idempotency_key="both")) for i in range(10)), return_exceptions=True
        )
        assert sum(isinstance(answer, KeyReused) for answer in mixed) == 5

    run(case)


def test_the_same_submit_twice_is_one(run: Any, new: Any) -> None:
    async def case(p: Any) -> None:
        asked = new()
        answers = await asyncio.gather(p.submit(asked), p.submit(asked))
        assert sorted(is_new for _, is_new in answers) == [False, True]
        assert answers[0][0].sequence == answers[1][0].sequence
        with pytest.raises(Conflict):
            await p.submit(new(b"other", id=asked.id))
        with pytest.raises(Conflict):
            await p.submit(new(id=asked.id, owner="bob"))

    run(case)


def test_who_leaves_a_submit_harms_nobody(run: Any, new: Any) -> None:
    async def case(p: Any) -> None:
        tasks = [asyncio.ensure_future(p.submit(new())) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(answer[1] for answer in answers[1::2])
        assert len((await p.find(Filter("ann"), 100, None)).predictions) >= 10

    run(case)


def test_an_ending_is_kept_and_never_changes(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        asked, failing = new(keep_s=10.0), new()
        await p.submit(asked)
        await p.submit(failing)
        endings = [
            succeeded(asked.id, b"\x00", ended_s=100.5),
            Ending(failing.id, State.FAILED, kind="invalid_input", message="no", field="rows[0]", ended_s=7.0),
            succeeded("no such"),
            Ending(asked.id, State.FAILED, kind="internal", message="late"),
        ]
        assert sorted(await p.end(endings)) == sorted([asked.id, failing.id])
        assert await p.end(endings) == []
        assert await p.end([]) == []
        done, failed = await p.get(asked.id, None), await p.get(failing.id, None)
        assert (done.state, done.bundle, done.ended_s, done.expires_s) == (State.SUCCEEDED, "m@sha256:1", 100.5, 110.5)
        assert (done.result.body, done.result.headers, done.result.nbytes) == (b"\x00", JSON, 1)
        assert (failed.state, failed.kind, failed.message, failed.field) == (State.FAILED, "invalid_input", "no", "rows[0]")
        assert (failed.result, failed.expires_s, failed.ended_s) == (None, None, 7.0)
        assert (await p.cancel(asked.id, "ann")).state is State.SUCCEEDED

    run(case)


def test_a_canceled_one_stays_canceled(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        waiting, claimed = new(keep_s=5.0), new()
        await p.submit(claimed)
        assert [c.id for c in await p.claim("m", "here", 1)] == [claimed.id]
        await p.submit(waiting)
        canceled = await p.cancel(waiting.id, "ann")
        assert (canceled.state, canceled.result) == (State.CANCELED, None)
        assert canceled.expires_s == pytest.approx(canceled.ended_s + 5.0)
        assert (await p.cancel(waiting.id, "ann")).ended_s == canceled.ended_s
        assert (await p.cancel(claimed.id, None)).state is State.CANCELED
        assert await p.end([succeeded(waiting.id), succeeded(claimed.id)]) == []
        assert await p.claim("m", "here", 10) == []
        assert await p.held("m", "here") == []

    run(case)


def test_pages_are_newest_first_and_whole(run: Any, new: Any) -> None:
    async def case(p: Any) -> None:
        ids = [(await p.submit(new(created_s=100.0 + i)))[0].id for i in range(7)]
        await p.submit(new(owner="bob"))
        page = await p.find(Filter("ann"), 3, None)
        assert [x.id for x in page.predictions] == ids[:3:-1]
        await p.submit(new())
        second = await p.find(Filter("ann"), 3, page.cursor)
        last = await p.find(Filter("ann"), 3, second.cursor)
        assert [x.id for x in (*second.predictions, *last.predictions)] == ids[3::-1]
        assert last.cursor is None
        exact = await p.find(Filter("bob"), 1, None)
        assert (len(exact.predictions), exact.cursor) == (1, None)
        for cursor in ("x", "", "é", "cDE6", "cDE6LTE", "cDE6OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"):
            with pytest.raises(InvalidInput) as raised:
                await p.find(Filter(None), 3, cursor)
            assert raised.value.field == "cursor"

    run(case)


def test_filters(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        a, b, c = new(created_s=1.0), new(model="n", created_s=2.0), new(owner="bob", created_s=3.0)
        for asked in (a, b, c):
            await p.submit(asked)
        await p.end([succeeded(b.id)])

        async def ids(**values: Any) -> list[str]:
            return [x.id for x in (await p.find(Filter(**{"owner": None, **values}), 10, None)).predictions]

        assert await ids() == [c.id, b.id, a.id]
        assert await ids(owner="ann") == [b.id, a.id]
        assert await ids(model="m") == [c.id, a.id]
        assert await ids(state=State.SUCCEEDED) == [b.id]
        assert await ids(after_s=2.0) == [c.id, b.id]
        assert await ids(before_s=2.0) == [a.id]
        assert await ids(owner="ann", model="m", state=State.STARTING, after_s=0.5, before_s=9.0) == [a.id]

    run(case)


def test_what_is_over_is_removed_with_its_references(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        by_reference = new(payload=Payload(None, JSON, 5, "file:in"), keep_s=0.0, idempotency_key="k")
        plain, unended, forever = new(keep_s=0.0), new(keep_s=0.0), new()
        for asked in (by_reference, plain, unended, forever):
            await p.submit(asked)
        result = Payload(None, JSON, 5, "file:out")
        await p.end([Ending(by_reference.id, State.SUCCEEDED, result, ended_s=10.0), succeeded(plain.id, ended_s=20.0)])
        await p.end([succeeded(forever.id, ended_s=10.0)])
        assert await p.expire(9.0, 10) == (0, [])
        gone = await p.expire(15.0, 10)
        assert (gone.removed, sorted(gone.references)) == (1, ["file:in", "file:out"])
        assert (await p.expire(1e12, 10)) == (1, [])
        for asked in (by_reference, plain):
            with pytest.raises(NotFound):
                await p.get(asked.id, None)
        assert [x.id for x in (await p.find(Filter(None), 10, None)).predictions] == [forever.id, unended.id]
        _, is_new = await p.submit(new(b"other", idempotency_key="k"))
        assert is_new

    run(case)


def test_removal_is_bounded(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        asked = [new(keep_s=0.0) for _ in range(5)]
        for one in asked:
            await p.submit(one)
        await p.end([succeeded(one.id, ended_s=1.0) for one in asked])
        assert [(await p.expire(2.0, 2)).removed for _ in range(4)] == [2, 2, 1, 0]

    run(case)


def test_changes_are_told_as_they_come(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        asked = new()
        await p.submit(asked)
        async with p.changes(asked.id) as states:
            assert await anext(states) is State.STARTING
            await p.claim("m", "here", 1)
            assert await anext(states) is State.PROCESSING
            await p.end([succeeded(asked.id)])
            assert await anext(states) is State.SUCCEEDED
            with pytest.raises(StopAsyncIteration):
                await anext(states)
        async with p.changes(asked.id) as states:
            assert [state async for state in states] == [State.SUCCEEDED]
        with pytest.raises(NotFound):
            async with p.changes("no such"):
                pass

    run(case)


def test_an_end_is_never_missed(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        asked = [new() for _ in range(50)]
        await asyncio.gather(*(p.submit(one) for one in asked))

        async def watch(prediction_id: str) -> list[State]:
            async with p.changes(prediction_id) as states:
                return [state async for state in states]

        watching = [asyncio.ensure_future(watch(one.id)) for one in asked]
        # Some are ended before their watcher has read, some between, some after.
        for start in range(0, 50, 10):
            await p.end([succeeded(one.id) for one in asked[start : start + 5]])
            await asyncio.gather(*(p.cancel(one.id, None) for one in asked[start + 5 : start + 10]))
        seen = await asyncio.gather(*watching)
        ends = {State.SUCCEEDED, State.CANCELED}
        assert all(states[-1] in ends and not ends & set(states[:-1]) for states in seen)

    run(case)


def test_only_what_a_replay_brings_changes_an_end(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        asked = new()
        await p.submit(asked)
        failed = Ending(asked.id, State.FAILED, kind="internal", message="first")
        assert await p.end([failed]) == [asked.id]
        assert await p.end([succeeded(asked.id)]) == []
        again = Ending(asked.id, State.FAILED, kind="crashed", message="again", replayed=True)
        assert await p.end([again]) == [asked.id]
        assert (await p.get(asked.id, None)).kind == "crashed"
        assert await p.end([succeeded(asked.id, replayed=True)]) == [asked.id]
        assert await p.end([failed, again, succeeded(asked.id, b"[2]", replayed=True)]) == []
        kept = await p.get(asked.id, None)
        assert (kept.state, kept.kind, kept.message) == (State.SUCCEEDED, None, None)
        assert kept.result.body == b"[1]"

    run(case)


def test_ids_of_any_length_are_told(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        ids = ["é" * 190, "x" * 200, *(f"{i:060d}" for i in range(150)), *(f"short {i}" for i in range(150))]
        await asyncio.gather(*(p.submit(new(id=one)) for one in ids))
        told: list[State] = []

        async def watch(prediction_id: str) -> None:
            async with p.changes(prediction_id) as states:
                assert await anext(states) is State.STARTING
                watching.discard(prediction_id)
                if not watching:
                    ready.set()
                told.extend([state async for state in states])

        watching, ready = set(ids), asyncio.Event()
        tasks = [asyncio.ensure_future(watch(one)) for one in ids]
        await ready.wait()
        await p.renew("here", 100.0)
        assert len(await p.claim("m", "here", 1000)) == len(ids)
        await p.end([succeeded(one) for one in ids])
        await asyncio.gather(*tasks)
        assert told.count(State.SUCCEEDED) == len(ids)

    run(case)


def _same(one: Any, other: Any) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in one.__struct_fields__)

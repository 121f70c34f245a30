"""The port as a queue: what waits is claimed in order, once, held by leases, and given back; memory, SQLite, PostgreSQL."""

import asyncio
from typing import Any

from penstock_transformer.predictions.resource import Ending, State

JSON = (("content-type", b"application/json"),)


def test_the_position_in_the_queue(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        kept = [(await p.submit(new()))[0] for _ in range(3)]
        other, _ = await p.submit(new(model="n"))
        urgent, _ = await p.submit(new(headers=(("penstock-priority", b"-1"),)))
        assert [await p.position(x) for x in (*kept, other, urgent)] == [1, 2, 3, 0, 0]
        await p.cancel(kept[0].id, None)
        assert await p.position(kept[1]) == 1
        await p.claim("m", "here", 1)
        assert await p.position(urgent) is None
        assert await p.position(kept[2]) == 1
        await p.end([succeeded(kept[2].id)])
        assert await p.position(kept[2]) is None

    run(case)


def test_claims_come_in_order_once(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        headers = {1: (("penstock-priority", b"-5"),), 3: (("penstock-priority", b"5"),), 4: (("penstock-priority", b"x"),)}
        asked = [new(b"%d" % i, key=b"k", headers=headers.get(i, ())) for i in range(5)]
        for one in asked:
            await p.submit(one)
        await p.submit(new(model="n"))
        taken = await p.claim("m", "here", 2)
        assert [x.payload.body for x in taken] == [b"1", b"0"]
        assert (taken[0].id, taken[0].model, taken[0].key) == (asked[1].id, "m", b"k")
        assert (taken[0].headers, taken[0].created_s) == (asked[1].headers, asked[1].created_s)
        started = await p.get(asked[0].id, None)
        assert started.state is State.PROCESSING
        assert started.started_s is not None
        assert [x.payload.body for x in await p.claim("m", "there", 9)] == [b"2", b"4", b"3"]
        assert sorted(await p.held("m", "here")) == sorted([asked[0].id, asked[1].id])
        await p.end([succeeded(asked[0].id)])
        assert await p.held("m", "here") == [asked[1].id]

    run(case)


def test_what_is_given_back_waits_again(run: Any, new: Any) -> None:
    async def case(p: Any) -> None:
        asked = [new() for _ in range(3)]
        for one in asked:
            await p.submit(one)
        await p.claim("m", "here", 3)
        started = (await p.get(asked[1].id, None)).started_s
        woken = asyncio.Event()
        end = p.arrivals("m", woken.set)
        await p.give_back("here", [asked[1].id])
        await woken.wait()
        assert [x.id for x in await p.claim("m", "there", 3)] == [asked[1].id]
        assert (await p.get(asked[1].id, None)).started_s == started
        await p.give_back("there", [asked[0].id])
        assert await p.held("m", "there") == [asked[1].id]
        await p.give_back("here")
        assert [x.id for x in await p.claim("m", "there", 3)] == [asked[0].id, asked[2].id]
        end()

    run(case)


def test_who_does_not_renew_loses_what_he_holds(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        asked = [new() for _ in range(2)]
        for one in asked:
            await p.submit(one)
        await p.renew("dead", 0.0)
        await p.renew("here", 100.0)
        await p.claim("m", "dead", 1)
        await p.claim("m", "here", 1)
        await p.renew("dead", 0.0)
        async with asyncio.timeout(10):
            while not (taken := await p.claim("m", "next", 2)):
                await p.renew("next", 100.0)
        assert [x.id for x in taken] == [asked[0].id]
        assert await p.held("m", "here") == [asked[1].id]
        # The dead one was only slow: whoever ends first has ended it.
        assert await p.end([succeeded(asked[0].id)]) == [asked[0].id]
        assert await p.end([Ending(asked[0].id, State.FAILED, kind="internal", message="late")]) == []

    run(case)


def test_what_a_dead_holder_held_waits_again_though_nobody_drains(run: Any, new: Any) -> None:
    async def case(p: Any) -> None:
        await p.submit(new())
        await p.submit(new())
        await p.renew("here", 100.0)
        (kept,) = await p.claim("m", "here", 1)
        (lost,) = await p.claim("m", "dead", 1)
        await p.expire(0.0, 1)
        assert await p.held("m", "here") == [kept.id]
        assert [x.id for x in await p.claim("m", "next", 2)] == [lost.id]

    run(case)


def test_arrivals_wake_the_queue_of_the_model(run: Any, new: Any) -> None:
    async def case(p: Any) -> None:
        woken = asyncio.Event()
        others: list[int] = []
        end = p.arrivals("m", woken.set)
        end_other = p.arrivals("n", lambda: others.append(1))
        await p.submit(new())
        await woken.wait()
        end()
        end_other()
        assert not others

    run(case)


def test_the_backlog_counts_what_waits_and_what_is_taken(run: Any, new: Any, succeeded: Any) -> None:
    async def case(p: Any) -> None:
        assert await p.backlog() == []
        asked = [new(model=model, created_s=1000.0 + at) for at, model in enumerate("baab")]
        for one in asked:
            await p.submit(one)
        await p.renew("h", 60)
        taken = await p.claim("a", "h", 1)
        assert [tuple(found) for found in await p.backlog()] == [("a", 1, 1, 1001.0), ("b", 2, 0, 1000.0)]
        await p.end([succeeded(taken[0].id), succeeded(asked[0].id)])
        assert [tuple(found) for found in await p.backlog()] == [("a", 1, 0, 1002.0), ("b", 1, 0, 1003.0)]

    run(case)

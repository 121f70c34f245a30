"""What the database can do to us: gone, restarted, silent, full, another's; after each nothing is lost and nothing doubled."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from penstock.errors import InvalidInput, NotReady, Overloaded, UpstreamUnavailable
from penstock.testing.servers import PostgresServer
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.database.settings import DatabaseSettings
from penstock_transformer.predictions.intents import DatabaseIntents
from penstock_transformer.predictions.port import Filter
from penstock_transformer.predictions.resource import Ending, NewPrediction, Payload, State, new_id

JSON = (("content-type", b"application/json"),)


def new(body: bytes = b"{}", **values: Any) -> NewPrediction:
    return NewPrediction(new_id(), "m", "ann", Payload(body, JSON, len(body)), 1, body, **values)


def run(url: str, case: Callable[[Any], Awaitable[None]], **settings: Any) -> None:
    async def go() -> None:
        predictions = open_predictions(url, DatabaseSettings(**settings))
        await predictions.start()
        try:
            async with asyncio.timeout(60):
                await case(predictions)
        finally:
            await predictions.close()

    asyncio.run(go())


async def until(call: Callable[[], Awaitable[Any]]) -> Any:
    """The call's answer, once the database is back."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except UpstreamUnavailable:
                await asyncio.sleep(0.05)


def test_a_restart_of_the_database_in_the_middle_of_submits(postgres: PostgresServer, own_schema: str) -> None:
    async def case(p: Any) -> None:
        asked = [new(b"%d" % i) for i in range(400)]
        refused = 0

        async def submit(one: NewPrediction) -> None:
            nonlocal refused
            while True:
                try:
                    await p.submit(one)
                    return
                except UpstreamUnavailable:
                    refused += 1
                    await asyncio.sleep(0.1)

        async def client(number: int) -> None:
            for one in asked[number::20]:
                await submit(one)

        clients = [asyncio.ensure_future(client(number)) for number in range(20)]
        await p.submit(new(b"first"))
        await asyncio.to_thread(postgres.kill)
        with pytest.raises(UpstreamUnavailable) as raised:
            await p.submit(new(b"while it is away"))
        assert postgres.password not in str(raised.value)
        await asyncio.to_thread(postgres.start)
        await asyncio.gather(*clients)
        assert refused
        page = await p.find(Filter("ann"), 1000, None)
        kept = [one.id for one in page.predictions]
        assert len(kept) == len(set(kept))
        assert {one.id for one in asked} <= set(kept)
        # Each has its intent: nothing is half done.
        assert len(await p.claim("m", "here", 1000)) == len(kept)

    run(own_schema, case)


def test_every_call_says_that_the_database_is_away(postgres: PostgresServer, own_schema: str) -> None:
    async def case(p: Any) -> None:
        prediction, _ = await p.submit(new())
        await asyncio.to_thread(postgres.kill)
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: p.submit(new()),
            lambda: p.get(prediction.id, None),
            lambda: p.input(prediction.id, None),
            lambda: p.position(prediction),
            lambda: p.find(Filter(None), 1, None),
            lambda: p.cancel(prediction.id, None),
            lambda: p.end([Ending(prediction.id, State.FAILED)]),
            lambda: p.expire(0.0, 1),
            lambda: p.existing([prediction.id]),
            lambda: p.claim("m", "here", 1),
            lambda: p.renew("here", 1.0),
            lambda: p.give_back("here"),
        ]
        for call in calls:
            with pytest.raises(UpstreamUnavailable):
                await call()
        await asyncio.to_thread(postgres.start)
        assert (await until(lambda: p.get(prediction.id, None))).state is State.STARTING

    run(own_schema, case)


def test_a_silent_database_is_given_up_in_time(postgres: PostgresServer, own_schema: str) -> None:
    async def case(p: Any) -> None:
        prediction, _ = await p.submit(new())
        postgres.pause()
        try:
            with pytest.raises(UpstreamUnavailable, match="did not answer"):
                await p.get(prediction.id, None)
            with pytest.raises(UpstreamUnavailable):
                await p.submit(new())
        finally:
            postgres.resume()
        assert (await until(lambda: p.get(prediction.id, None))).id == prediction.id

    run(own_schema, case, timeout_s=1.0)


def test_one_that_hangs_in_mid_transaction_holds_the_others_up_no_longer_than_a_call_may_take(own_schema: str) -> None:
    held, free = threading.Event(), threading.Event()

    def claim_and_hang(connection: sa.Connection) -> None:
        connection.execute(sa.text("LOCK TABLE penstock_relay_slots"))
        held.set()
        # On the event loop, which stands still with it, as the process does that is stopped or cut off.
        assert free.wait(60)

    async def hang(p: Any) -> None:
        with pytest.raises(UpstreamUnavailable):
            await p.engine.write(claim_and_hang)
        # It goes on as one that lost its connections does.
        assert await until(lambda: DatabaseIntents(p.engine, p).lease("hung:1", 5.0, take_back=False))

    async def case(p: Any) -> None:
        with ThreadPoolExecutor(1) as other:
            hung = other.submit(run, own_schema, hang, timeout_s=1.0)
            try:
                assert await asyncio.to_thread(held.wait, 30)
                lease = await until(lambda: DatabaseIntents(p.engine, p).lease("other:1", 5.0, take_back=False))
                assert lease.slot.epoch == 1
            finally:
                free.set()
            await asyncio.to_thread(hung.result)

    run(own_schema, case, timeout_s=1.0)


def test_an_end_that_came_while_nobody_listened_is_told(postgres: PostgresServer, own_schema: str) -> None:
    async def case(p: Any) -> None:
        prediction, _ = await p.submit(new())
        woken = asyncio.Event()
        end_arrivals = p.arrivals("m", woken.set)
        async with p.changes(prediction.id) as states:
            assert await anext(states) is State.STARTING
            following = asyncio.ensure_future(anext(states))
            await asyncio.to_thread(postgres.kill)
            woken.clear()
            await asyncio.to_thread(postgres.start)
            # Whether the listener is back already or not when this is written.
            await until(lambda: p.end([Ending(prediction.id, State.FAILED, kind="internal", message="no")]))
            assert await following is State.FAILED
            await woken.wait()
        end_arrivals()

    run(own_schema, case)


def test_opening_waits_for_the_database(postgres: PostgresServer, own_schema: str) -> None:
    postgres.kill()

    async def go() -> None:
        impatient = open_predictions(own_schema)
        with pytest.raises(UpstreamUnavailable, match=r"127\.0\.0\.1"):
            await impatient.start(patient=False)
        await impatient.close()
        predictions = open_predictions(own_schema)
        starting = asyncio.ensure_future(predictions.start())
        await asyncio.to_thread(postgres.start)
        async with asyncio.timeout(30):
            await starting
        await predictions.submit(new())
        await predictions.close()

    asyncio.run(go())


def test_a_wrong_password_is_said_without_the_password(postgres: PostgresServer) -> None:
    async def go() -> None:
        predictions = open_predictions(postgres.url(password="s3cret"))
        with pytest.raises(UpstreamUnavailable, match="password authentication failed") as raised:
            await predictions.start(patient=False)
        assert "s3cret" not in str(raised.value)
        await predictions.close()

    asyncio.run(go())


@pytest.mark.parametrize(
    "url", ["sqlite:", "sqlite:///", "sqlite://x", "mysql://x", "postgresql://", "postgresql://h:p%C3%A4/x", "x"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"^database: expected"):
        open_predictions(url)


def test_a_full_disk_is_said_and_loses_nothing(sqlite_url: str) -> None:
    async def case(p: Any) -> None:
        def limit(pages: int) -> Callable[[Any], Any]:
            return lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").scalar()

        kept = [(await p.submit(new(b"%d" % i)))[0].id for i in range(5)]
        await p.engine.write(limit(1))  # as many as there are
        full = None
        while full is None:
            try:
                kept.append((await p.submit(new(b"x" * 3000)))[0].id)
            except UpstreamUnavailable as error:
                full = error
        assert "database or disk is full" in str(full)
        with pytest.raises(UpstreamUnavailable, match="full"):
            await p.end([Ending(kept[0], State.SUCCEEDED, Payload(b"x" * 100_000, JSON, 100_000))])
        assert (await p.get(kept[0], None)).state is State.STARTING
        await p.engine.write(limit(1_000_000))
        assert await p.end([Ending(kept[0], State.SUCCEEDED, Payload(b"x" * 100_000, JSON, 100_000))]) == [kept[0]]
        assert {one.id for one in (await p.find(Filter(None), 1000, None)).predictions} == set(kept)
        assert len(await p.claim("m", "here", 1000)) == len(kept) - 1

    run(sqlite_url, case)


def test_an_sqlite_file_is_its_owners_alone(sqlite_url: str) -> None:
    async def case(p: Any) -> None:
        await p.submit(new())
        file = Path(sqlite_url.removeprefix("sqlite:///"))
        modes = {path.name: path.stat().st_mode & 0o077 for path in file.parent.glob(f"{file.name}*")}
        assert len(modes) > 1
        assert not any(modes.values()), modes

    run(sqlite_url, case)


def test_an_sqlite_file_is_for_one_process(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> None:
        first, second = open_predictions(sqlite_url), open_predictions(sqlite_url, DatabaseSettings(open_s=0.1))
        await first.start()
        with pytest.raises(InvalidInput, match="another process"):
            await second.start()
        assert "is open in another process" in caplog.records[-1].__dict__["reason"]
        waiting = open_predictions(sqlite_url)
        starting = asyncio.ensure_future(waiting.start())
        await first.submit(new())
        await first.close()
        await starting
        assert len((await waiting.find(Filter(None), 10, None)).predictions) == 1
        await waiting.close()
        await second.close()

    asyncio.run(go())


def test_a_full_queue_of_submits_is_refused_with_a_time(url: str) -> None:
    async def case(p: Any) -> None:
        answers = await asyncio.gather(*(p.submit(new()) for _ in range(40)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Overloaded)]
        assert len(refused) == 30
        assert all(0 < one.retry_after_s <= 30 for one in refused)
        large = await asyncio.gather(*(p.submit(new(b"x" * 600_000)) for _ in range(3)), return_exceptions=True)
        assert [isinstance(answer, Overloaded) for answer in large] == [False, True, True]
        assert len((await p.find(Filter(None), 100, None)).predictions) == 11

    run(url, case, queue_items=10, queue_bytes=1_000_000)


def test_a_row_that_is_refused_is_refused_alone(url: str) -> None:
    async def case(p: Any) -> None:
        bad = new(webhook="https://example.com/\0")
        answers = await asyncio.gather(
            p.submit(new()), p.submit(bad), p.submit(new(created_s=None)), p.submit(new()), return_exceptions=True
        )
        assert [isinstance(answer, Exception) for answer in answers] == [False, True, True, False]
        assert isinstance(answers[1], InvalidInput)
        assert len((await p.find(Filter(None), 100, None)).predictions) == 2
        done = await p.end([Ending(answers[0][0].id, State.FAILED, kind="internal", message="a\0b\ud800", field="\0")])
        assert done == [answers[0][0].id]
        assert (await p.get(answers[0][0].id, None)).message == "a?b?"
        assert await p.end([Ending("\0", State.FAILED)]) == []

    run(url, case)


def test_closing_writes_what_waits(url: str) -> None:
    async def go() -> None:
        predictions = open_predictions(url)
        await predictions.start()
        submits = [asyncio.ensure_future(predictions.submit(new())) for _ in range(10)]
        await asyncio.sleep(0)
        await predictions.close()
        assert all(is_new for _, is_new in await asyncio.gather(*submits))
        with pytest.raises(NotReady):
            await predictions.submit(new())

    asyncio.run(go())

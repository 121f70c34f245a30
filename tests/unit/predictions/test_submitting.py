"""Group commits without a database: who shares a batch, who is refused, who leaves."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from penstock.errors import Internal, InvalidInput, Overloaded, UpstreamUnavailable
from penstock_transformer.predictions.database.rows import submitted
from penstock_transformer.predictions.database.settings import DatabaseSettings
from penstock_transformer.predictions.database.submitting import Submitting
from penstock_transformer.predictions.resource import NewPrediction, Payload, new_id


def new(size: int = 2, **values: Any) -> NewPrediction:
    return NewPrediction(values.pop("id", new_id()), "m", "ann", Payload(b"x" * size, (), size), 1, b"", **values)


class Database:
    """Writes groups when it is let; remembers them."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.refuse: Callable[[NewPrediction], Exception | None] = lambda _: None
        self.again: dict[str, int] = {}
        self.away = False

    async def write(self, group: Sequence[NewPrediction]) -> list[Any]:
        self.groups.append([one.id for one in group])
        await self.open.wait()
        if self.away:
            raise UpstreamUnavailable("away")
        for one in group:
            error = self.refuse(one)
            if error is not None:
                raise error
        return [None if self._is_to_come_again(one.id) else (submitted(one, 1), True) for one in group]

    def _is_to_come_again(self, prediction_id: str) -> bool:
        self.again[prediction_id] = self.again.get(prediction_id, 0) - 1
        return self.again[prediction_id] >= 0


def run(case: Callable[[Submitting, Database], Awaitable[None]], **settings: Any) -> None:
    async def go() -> None:
        database = Database()
        submitting = Submitting(database.write, DatabaseSettings(**settings))
        async with asyncio.timeout(10):
            await case(submitting, database)
            await submitting.close()

    asyncio.run(go())


def start(submitting: Submitting, *asked: NewPrediction) -> "list[asyncio.Task[Any]]":
    return [asyncio.ensure_future(submitting.submit(one)) for one in asked]


async def under_way(database: Database, groups: int) -> None:
    for _ in range(100):
        if len(database.groups) >= groups:
            return
        await asyncio.sleep(0)
    raise AssertionError(database.groups)


def test_who_waits_at_the_same_moment_shares_a_batch() -> None:
    async def case(submitting: Submitting, database: Database) -> None:
        asked = [new() for _ in range(7)]
        database.open.clear()
        first = start(submitting, *asked[:3])
        await under_way(database, 1)
        others = start(submitting, *asked[3:])
        await asyncio.sleep(0)
        database.open.set()
        await asyncio.gather(*first, *others)
        ids = [one.id for one in asked]
        assert database.groups == [ids[:3], ids[3:7]]

    run(case)


def test_batches_are_bounded_in_items_and_bytes() -> None:
    async def case(submitting: Submitting, database: Database) -> None:
        await asyncio.gather(*start(submitting, *(new() for _ in range(7))))
        assert [len(group) for group in database.groups] == [3, 3, 1]
        database.groups.clear()
        await asyncio.gather(*start(submitting, new(3000), new(3000), new(20_000), new(10)))
        assert [len(group) for group in database.groups] == [2, 1, 1]

    run(case, batch_items=3, batch_bytes=8000)


def test_who_left_before_the_batch_is_left_out_and_harms_nobody() -> None:
    async def case(submitting: Submitting, database: Database) -> None:
        database.open.clear()
        first = start(submitting, new(), new())
        await under_way(database, 1)
        second = start(submitting, new(), new())
        await asyncio.sleep(0)
        first[0].cancel()
        second[0].cancel()
        await asyncio.sleep(0)
        database.open.set()
        await asyncio.gather(first[1], second[1])
        assert [len(group) for group in database.groups] == [2, 1]

    run(case)


def test_a_row_that_is_refused_is_refused_alone() -> None:
    async def case(submitting: Submitting, database: Database) -> None:
        database.refuse = lambda one: ValueError(one.id) if one.id == "bad" else None
        answers = await asyncio.gather(*start(submitting, new(), new(id="bad"), new()), return_exceptions=True)
        assert [isinstance(answer, ValueError) for answer in answers] == [False, True, False]

    run(case)


def test_a_database_that_is_away_is_told_to_all_and_asked_again_by_the_next() -> None:
    async def case(submitting: Submitting, database: Database) -> None:
        database.away = True
        answers = await asyncio.gather(*start(submitting, new(), new()), return_exceptions=True)
        assert all(isinstance(answer, UpstreamUnavailable) for answer in answers)
        database.away = False
        assert (await submitting.submit(new()))[1]

    run(case)


def test_what_was_in_the_way_and_is_gone_is_tried_again_but_not_for_ever() -> None:
    async def case(submitting: Submitting, database: Database) -> None:
        database.again = {"x": 2, "y": 1000}
        answers = await asyncio.gather(*start(submitting, new(id="x"), new(id="y")), return_exceptions=True)
        assert answers[0][1]
        assert isinstance(answers[1], Internal)

    run(case)


def test_a_full_queue_is_refused_with_an_honest_time() -> None:
    async def case(submitting: Submitting, database: Database) -> None:
        database.open.clear()
        tasks = start(submitting, new())
        await under_way(database, 1)
        tasks += start(submitting, new(), new())
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as raised:
            await submitting.submit(new())
        assert 0.0 < raised.value.retry_after_s <= 30.0
        database.open.set()
        assert len(await asyncio.gather(*tasks)) == 3
        assert (await submitting.submit(new()))[1]

    run(case, queue_items=2)


def test_the_queue_is_bounded_in_bytes_and_one_always_goes() -> None:
    async def case(submitting: Submitting, database: Database) -> None:
        assert (await submitting.submit(new(5000)))[1]
        tasks = start(submitting, new(5000), new(10))
        with pytest.raises(Overloaded):
            await tasks[1]
        await tasks[0]

    run(case, queue_bytes=1000)


@pytest.mark.parametrize("name", ["id", "owner", "idempotency_key", "webhook"])
@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_text_that_no_database_holds_is_refused_by_its_name(name: str, value: str) -> None:
    async def case(submitting: Submitting, database: Database) -> None:
        fields = {"id": "x", "owner": "ann", name: value}
        payload = Payload(b"", (), 0)
        asked = NewPrediction(fields.pop("id"), "m", fields.pop("owner"), payload, 1, b"", **fields)
        with pytest.raises(InvalidInput) as raised:
            await submitting.submit(asked)
        assert raised.value.field == name
        assert not database.groups

    run(case)

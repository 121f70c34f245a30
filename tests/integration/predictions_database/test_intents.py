"""The relay's port to the database: slots and their leases, claims under a batch's number, on either database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.intents import DatabaseIntents
from penstock_transformer.predictions.resource import NewPrediction, Payload, State, new_id
from penstock_transformer.relay.port import Claim, Lease, Superseded

JSON = (("content-type", b"application/json"),)
ALL = Claim(100, 1_000_000)


class World(NamedTuple):
    predictions: Any
    intents: DatabaseIntents

    async def submit(self, *bodies: bytes, model: str = "m", key: bytes | None = None) -> list[str]:
        """Predictions with intents; their ids."""
        made = [
            NewPrediction(new_id(), model, "ann", Payload(body, JSON, len(body)), rows=1, digest=body, key=key) for body in bodies
        ]
        for new in made:
            await self.predictions.submit(new)
        return [new.id for new in made]

    async def lease(self, owner: str = "a:1", lease_s: float = 30.0, *, take_back: bool = False) -> Lease:
        return await self.intents.lease(owner, lease_s, take_back=take_back)

    async def claim(self, lease: Lease, after: int = 0, what: Claim = ALL) -> list[str]:
        return [intent.id for intent in await self.intents.claim(lease.slot, after, after + 1, what)]


Case = Callable[[World], Awaitable[None]]


@pytest.fixture
def given(url: str) -> Callable[[Case], None]:
    """Runs a case in an empty database."""

    async def go(case: Case) -> None:
        predictions = open_predictions(url)
        await predictions.start()
        try:
            async with asyncio.timeout(60):
                await case(World(predictions, DatabaseIntents(predictions.engine, predictions)))
        finally:
            await predictions.close()

    return lambda case: asyncio.run(go(case))


class TestSlots:
    def test_each_relay_has_one_and_who_is_back_finds_its_own(self, given: Any) -> None:
        async def case(world: World) -> None:
            first, second = await world.lease("a:1"), await world.lease("b:1")
            assert first.slot.name != second.slot.name
            again = await world.lease("a:1")
            assert (again.slot.name, again.slot.epoch) == (first.slot.name, first.slot.epoch + 1)

        given(case)

    def test_a_restarted_program_takes_its_instances_slot_back_only_if_asked(self, given: Any) -> None:
        async def case(world: World) -> None:
            first = await world.lease("a:1")
            assert (await world.lease("a:2")).slot.name != first.slot.name
            back = await world.lease("a:3", take_back=True)
            assert back.slot.epoch > 1

        given(case)

    def test_of_free_slots_the_one_that_was_left_with_a_batch_comes_first(self, given: Any) -> None:
        async def case(world: World) -> None:
            await world.submit(b"x")
            idle, busy = await world.lease("a:1"), await world.lease("b:1")
            await world.claim(busy)
            await world.intents.release(idle.slot)
            await world.intents.release(busy.slot)
            found = await world.lease("c:1")
            assert (found.slot.name, found.batch, found.pending) == (busy.slot.name, 1, True)
            assert (await world.lease("d:1")).slot.name == idle.slot.name

        given(case)

    def test_a_lease_that_has_ended_is_anybodys_and_a_renewed_one_is_not(self, given: Any) -> None:
        async def case(world: World) -> None:
            lost = await world.lease("a:1", -1.0)
            kept = await world.lease("b:1", -1.0)
            assert kept.slot.name == lost.slot.name
            await world.intents.renew(kept.slot, 30.0)
            assert (await world.lease("c:1")).slot.name != kept.slot.name

        given(case)

    def test_who_renews_is_told_of_a_batch_that_somebody_left(self, given: Any) -> None:
        async def case(world: World) -> None:
            await world.submit(b"x")
            mine, left = await world.lease("a:1"), await world.lease("b:1", 30.0)
            assert await world.intents.renew(mine.slot, 30.0) is False
            await world.claim(left)
            assert await world.intents.renew(mine.slot, 30.0) is False, "its owner is there"
            await world.intents.release(left.slot)
            assert await world.intents.renew(mine.slot, 30.0) is True

        given(case)

    def test_who_lost_the_slot_changes_nothing(self, given: Any) -> None:
        async def case(world: World) -> None:
            [id] = await world.submit(b"x")
            old = (await world.lease("a:1")).slot
            await world.intents.claim(old, 0, 1, ALL)
            new = await world.lease("a:1")
            for call in (
                lambda: world.intents.renew(old, 30.0),
                lambda: world.intents.claim(old, 1, 2, ALL),
                lambda: world.intents.load(old, 1),
                lambda: world.intents.mark(old, 1),
                lambda: world.intents.unclaim(old, 1),
            ):
                with pytest.raises(Superseded):
                    await call()
            await world.intents.release(old)
            assert (await world.lease("b:1")).slot.name != new.slot.name, "it is not the old owner's to give"
            assert [intent.id for intent in await world.intents.load(new.slot, 1)] == [id]

        given(case)


class TestClaims:
    def test_in_the_order_they_came_and_whole(self, given: Any) -> None:
        async def case(world: World) -> None:
            ids = await world.submit(b"1", b"22", b"333", key=b"k")
            lease = await world.lease()
            found = await world.intents.claim(lease.slot, 0, 1, ALL)
            assert [intent.id for intent in found] == ids
            assert (found[1].payload.body, found[1].payload.headers, found[1].key, found[1].model) == (b"22", JSON, b"k", "m")
            assert found[0].created_s > 1e9
            assert await world.intents.load(lease.slot, 1) != []

        given(case)

    def test_made_again_it_answers_the_same_and_a_number_out_of_turn_is_refused(self, given: Any) -> None:
        async def case(world: World) -> None:
            await world.submit(b"1")
            lease = await world.lease()
            first = await world.claim(lease)
            await world.submit(b"2")
            assert await world.claim(lease) == first
            with pytest.raises(Superseded):
                await world.intents.claim(lease.slot, 1, 2, ALL)
            await world.intents.mark(lease.slot, 1)
            with pytest.raises(Superseded):
                await world.intents.claim(lease.slot, 7, 8, ALL)

        given(case)

    @pytest.mark.parametrize("what, count", [(Claim(2, 1000), 2), (Claim(9, 25), 2), (Claim(9, 5), 1)])
    def test_bounded_in_number_and_bytes_but_one_always_goes(self, given: Any, what: Claim, count: int) -> None:
        async def case(world: World) -> None:
            ids = await world.submit(*[b"x" * 10] * 4)
            assert await world.claim(await world.lease(), what=what) == ids[:count]

        given(case)

    def test_models_to_avoid_wait_and_a_batch_of_one_model_is_the_first_ones(self, given: Any) -> None:
        async def case(world: World) -> None:
            [bad], [a], [b], [c] = [await world.submit(b"x", model=model) for model in ("bad", "m", "n", "m")]
            lease = await world.lease()
            assert await world.claim(lease, what=Claim(9, 1000, frozenset({"bad"}), one_model=True)) == [a, c]
            await world.intents.mark(lease.slot, 1)
            assert await world.claim(lease, 1, Claim(9, 1000, frozenset({"bad"}))) == [b]
            await world.intents.mark(lease.slot, 2)
            assert await world.claim(lease, 2) == [bad]

        given(case)

    def test_nothing_overtakes_what_another_slot_has_of_its_key(self, given: Any) -> None:
        async def case(world: World) -> None:
            [first] = await world.submit(b"1", key=b"k")
            one, other = await world.lease("a:1"), await world.lease("b:1")
            assert await world.claim(one) == [first]
            [second] = await world.submit(b"2", key=b"k")
            [elsewhere] = await world.submit(b"3", key=b"k", model="n")
            [free] = await world.submit(b"4")
            assert await world.claim(other) == [elsewhere, free]
            await world.intents.mark(one.slot, 1)
            assert await world.claim(one, 1) == [second]

        given(case)

    def test_without_any_the_number_is_not_used(self, given: Any) -> None:
        async def case(world: World) -> None:
            lease = await world.lease()
            assert await world.claim(lease) == []
            [id] = await world.submit(b"1")
            assert await world.claim(lease) == [id]

        given(case)


class TestSettling:
    def test_marked_they_are_gone_once(self, given: Any) -> None:
        async def case(world: World) -> None:
            await world.submit(b"1", b"2")
            lease = await world.lease()
            await world.claim(lease)
            assert (await world.intents.waiting()).intents == 2
            assert await world.intents.mark(lease.slot, 1) == 2
            assert await world.intents.mark(lease.slot, 1) == 0
            assert await world.intents.waiting() == (0, None)
            assert not (await world.lease("a:1")).pending

        given(case)

    def test_unclaimed_they_wait_again_under_another_number(self, given: Any) -> None:
        async def case(world: World) -> None:
            ids = await world.submit(b"1", b"2")
            lease = await world.lease()
            await world.claim(lease)
            await world.intents.unclaim(lease.slot, 1)
            assert await world.claim(lease, 1) == ids

        given(case)

    def test_another_batchs_number_settles_nothing(self, given: Any) -> None:
        async def case(world: World) -> None:
            [id] = await world.submit(b"1")
            lease = await world.lease()
            await world.claim(lease)
            assert await world.intents.mark(lease.slot, 2) == 0
            assert [intent.id for intent in await world.intents.load(lease.slot, 1)] == [id]

        given(case)

    def test_one_that_kafka_never_takes_is_a_failure_and_the_others_go(self, given: Any) -> None:
        async def case(world: World) -> None:
            small, big = await world.submit(b"1", b"2" * 100)
            lease = await world.lease()
            await world.claim(lease)
            for _ in range(2):  # the answer to the first was lost
                await world.intents.refuse(lease.slot, 1, big, "over the topic's limit")
            assert [intent.id for intent in await world.intents.load(lease.slot, 1)] == [small]
            refused = await world.predictions.get(big, None)
            assert (refused.state, refused.kind) == (State.FAILED, "too_large")

        given(case)

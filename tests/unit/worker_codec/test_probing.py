"""Whether predictor and store answer now: what a suspect is tried after."""

import asyncio

import pytest

from penstock.errors import UpstreamUnavailable
from penstock_transformer.probing import healthy


def probe(answer):
    """What a predictor over the network answers to `answers`."""

    async def answers(model, timeout_s):
        if answer is None:
            await asyncio.sleep(3600)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return answers


@pytest.mark.parametrize(
    ("answer", "expected"), [(True, True), (False, False), (UpstreamUnavailable("away"), False), (OSError("reset"), False)]
)
def test_it_is_what_the_predictor_says_now(desk, run, answer, expected):
    async def go():
        async with desk() as d:
            assert await healthy(d.transformer.table.route, 5.0), "one in this process is"
            d.predictor.answers = probe(answer)
            assert await healthy(d.transformer.table.route, 5.0) is expected
            assert not d.predictor.calls, "no record is predicted for it"

    run(go())


def test_one_that_says_nothing_is_not(desk, run):
    async def go():
        async with desk() as d:
            d.predictor.answers = probe(None)
            assert not await healthy(d.transformer.table.route, 0.01)

    run(go())


def test_a_store_is_asked_for_an_entity_that_is_not_there(desk, run):
    async def go():
        async with desk() as d:
            assert await healthy(d.transformer.table.route, 5.0)
            (read,) = d.store.reads[-1]
            assert (read.view, read.keys, read.features) == ("planes", [("",)], ("weight",))
            d.store.away = True
            assert not await healthy(d.transformer.table.route, 5.0)

    run(go())


def test_without_a_route_nothing_answers(run):
    assert not run(healthy(None, 1.0))


def test_a_bundle_that_is_asked_is_not_closed_meanwhile(desk, run):
    async def go():
        async with desk() as d:
            bundle = d.transformer.table.route.live[0].bundle
            users = []

            async def answers(model, timeout_s):
                users.append(bundle._users)
                return True

            d.predictor.answers = answers
            assert await healthy(d.transformer.table.route, 5.0)
            assert (users, bundle._users) == ([1], 0)

    run(go())

"""The newest route counts: whatever was wanted before, however its bundles came or did not come."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UpstreamUnavailable
from penstock_transformer.counters import Counters
from penstock_transformer.route import keeping
from penstock_transformer.route.keeping import RouteKeeper
from penstock_transformer.route.status import RouteFault, RouteStatus
from penstock_transformer.route_file import RouteEntry, RouteSpec


def spec(revision):
    return RouteSpec(revision, "m", (RouteEntry("sha256:" + "a" * 64, "http://p", 1.0),))


class FakeApplier:
    """Applies what `good` holds, waits for the rest for ever; what `bad` holds fails."""

    def __init__(self):
        self.good = set()
        self.bad = set()
        self.tried = []
        self.applied = []

    async def apply(self, wanted):
        self.tried.append(wanted.revision)
        if wanted.revision in self.bad:
            raise UpstreamUnavailable(f"{wanted.revision} cannot be had")
        while wanted.revision not in self.good:  # noqa: ASYNC110
            await asyncio.sleep(0)
        self.applied.append(wanted.revision)

    async def close(self):
        return


def run(coroutine):
    async def bounded():
        async with asyncio.timeout(30):
            return await coroutine

    return asyncio.run(bounded())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(keeping, "_FIRST_PAUSE_S", 0.001)


def made():
    applier, status = FakeApplier(), RouteStatus("m")
    keeper = RouteKeeper(applier, status, Counters())
    keeper.start()
    return keeper, applier, status


@given(st.lists(st.tuples(st.sampled_from(["good", "bad", "stuck"]), st.integers(0, 3)), min_size=1, max_size=12))
def test_the_last_one_that_can_be_had_is_applied_and_none_older_after_a_newer(history):
    async def go():
        keeper, applier, status = made()
        for revision, (kind, turns) in enumerate([*history, ("good", 0)], start=1):
            {"good": applier.good, "bad": applier.bad, "stuck": set()}[kind].add(revision)
            keeper.want(spec(revision))
            for _ in range(turns):
                await asyncio.sleep(0)
        assert await keeper.settled()
        assert applier.applied == sorted(applier.applied)
        assert applier.applied[-1] == len(history) + 1
        assert status.error is None
        await keeper.close()

    run(go())


def test_what_fails_is_tried_until_it_works(caplog):
    async def go():
        keeper, applier, status = made()
        applier.bad.add(1)
        keeper.want(spec(1))
        assert not await keeper.settled()
        assert status.error == RouteFault(1, None, "1 cannot be had")
        while len(applier.tried) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0)
        applier.bad, applier.good = set(), {1}
        await keeper.first.wait()
        assert (status.error, keeper.applied) == (None, spec(1))
        assert caplog.text.count("cannot be had") <= 1, "told once"
        await keeper.close()

    run(go())


def test_a_fault_that_nobody_foresaw_is_a_failure_like_others(caplog):
    async def go():
        keeper, applier, status = made()

        async def broken(_wanted):
            raise RuntimeError("nobody thought of this")

        good, applier.apply = applier.apply, broken
        keeper.want(spec(1))
        assert not await keeper.settled()
        assert "internal" in status.error.message
        applier.apply = good
        applier.good = {1}
        await keeper.first.wait()
        await keeper.close()

    run(go())
    assert "nobody thought of this" in caplog.text


def test_what_was_refused_since_stays_told_when_an_older_route_comes_through():
    async def go():
        keeper, applier, status = made()
        keeper.want(spec(1))
        await asyncio.sleep(0)
        refused = status.error = RouteFault(2, "bundles", "wrong")
        applier.good = {1}
        await keeper.first.wait()
        assert status.error is refused
        keeper.want(spec(1))
        assert status.error is None, "what is applied is what is there again"
        await keeper.close()

    run(go())


def test_back_to_what_is_applied_gives_up_what_is_not():
    async def go():
        keeper, applier, status = made()
        applier.good = {1}
        applier.bad = {2}
        keeper.want(spec(1))
        assert await keeper.settled()
        keeper.want(spec(2))
        assert not await keeper.settled()
        keeper.want(spec(1))
        assert await keeper.settled()
        tried = len(applier.tried)
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert (len(applier.tried), status.error) == (tried, None)
        await keeper.close()

    run(go())

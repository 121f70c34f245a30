"""The route from a ConfigMap: applied and acknowledged as it changes, refused whole where it is wrong."""

import asyncio

import pytest

from penstock.errors import UpstreamUnavailable
from penstock.testing.bundles import FakePredictor
from penstock_transformer.route.configmap import MOST_APPLY

V1, V2 = {"1": 40}, {"2": 40}


def test_a_route_is_listed_watched_applied_and_acknowledged(site, watched, wait):
    async def go(api):
        await site.transformer.start()
        assert await site.versions() == V1
        api.put(site.text(2, site.entry(1, weight=50), site.entry(2, weight=50)))
        await site.applied(2)
        assert set(await site.versions()) == {"1", "2"}
        api.put(site.text(3, site.entry(2)))
        await site.applied(3)
        assert await site.versions() == V2
        told = site.told()
        digest = site.predictors["http://p2:80"].digest
        assert (told["revision"], told["model"], told["applied"], told["error"]) == (3, "flights", [digest], None)
        assert told["source"] == "configmap"
        assert told["confirmed_s"] >= 0
        await wait(lambda: api.gets > 2)
        assert len(api.watches) >= 1
        assert api.lists == 1

    watched(go, lambda api: api.put(site.text(1, site.entry(1))))


def test_without_a_configmap_the_predictor_is_followed_until_there_is_one_and_not_again(site, watched, wait):
    async def go(api):
        await site.transformer.start()
        assert (await site.versions(), site.told()["revision"], site.told()["source"]) == (V1, 0, "predictor")
        api.put(site.text(7, site.entry(2)))
        await site.applied(7)
        assert (await site.versions(), site.told()["source"]) == (V2, "configmap")
        asked = len(site.own.calls)
        site.own.files = site.predictors["http://p3:80"].files
        api.delete()
        await wait(lambda: site.told()["error"] is not None)
        assert "is gone" in site.told()["error"]["message"]
        assert (await site.versions(), site.transformer.revision) == (V2, 7)
        assert len(site.own.calls) == asked
        # Made again by somebody who begins to count anew.
        api.put(site.text(1, site.entry(3)), uid="second")
        await site.applied(1)
        assert (await site.versions(), site.told()["error"]) == ({"3": 40}, None)

    watched(go)


def test_a_predictor_that_is_not_there_does_not_hold_up_the_first_route(site, watched, wait):
    async def go(api):
        site.own.failure = lambda _: UpstreamUnavailable("no")
        site.own = FakePredictor({}, model="other")
        starting = asyncio.ensure_future(site.transformer.start())
        await wait(lambda: api.watches)
        api.put(site.text(1, site.entry(2)))
        await starting
        assert await site.versions() == V2

    watched(go)


WRONG = [
    ("bundles: [", {}, None, "route"),
    ("formatVersion: 1\nrevision: 9\nmodel: trains\nbundles: []", {}, 9, "model"),
    ("", {}, None, "route"),
    ("revision: 9\n" + "#" * 70_000, {}, None, "data[route.yaml]"),
    (None, {}, None, "data[route.yaml]"),
    (None, {"binaryData": {"route.yaml": "AAAA"}}, None, "data[route.yaml]"),
    (None, {"data": {"route.yml": "x"}}, None, "data[route.yaml]"),
    ("a: &a [*a]", {}, None, "route line 1: a"),
]


@pytest.mark.parametrize(("text", "data", "revision", "field"), WRONG)
def test_a_wrong_route_is_refused_whole_and_told(site, watched, wait, text, data, revision, field):
    async def go(api):
        await site.transformer.start()
        api.put(text, **data)
        await wait(lambda: site.told()["error"] is not None)
        assert (site.told()["error"]["revision"], site.told()["error"]["field"]) == (revision, field)
        assert (await site.versions(), site.transformer.revision) == (V1, 1)
        assert site.transformer.counters.route_rejected == 1
        # As it was: nothing is wrong any more.
        api.put(site.text(1, site.entry(1)))
        await wait(lambda: site.told()["error"] is None)
        api.put(site.text(2, site.entry(2)))
        await site.applied(2)

    watched(go, lambda api: api.put(site.text(1, site.entry(1))))


@pytest.mark.parametrize("revision", [4, 5])
def test_a_revision_that_goes_back_or_means_another_route_is_refused(site, watched, wait, revision):
    async def go(api):
        await site.transformer.start()
        api.put(site.text(revision, site.entry(2)))
        await wait(lambda: site.told()["error"] is not None)
        assert (site.told()["error"]["revision"], site.told()["error"]["field"]) == (revision, "revision")
        assert (await site.versions(), site.transformer.revision) == (V1, 5)

    watched(go, lambda api: api.put(site.text(5, site.entry(1))))


def test_thousands_of_changes_cost_what_the_last_one_costs(site, watched):
    async def go(api):
        await site.transformer.start()
        for revision in range(2, 3001):
            api.put(site.text(revision, site.entry(1, weight=revision), site.entry(2, weight=1)))
            if revision % 500 == 0:
                await asyncio.sleep(0)
        await site.applied(3000)
        assert site.transformer.counters.route_rejected == 0
        assert site.closed == []

    watched(go, lambda api: api.put(site.text(1, site.entry(1))))


def test_a_roll_back_never_waits_for_a_bundle_that_does_not_come(site, watched, monkeypatch):
    stuck = asyncio.Event()
    given_up = []

    async def never(_model, _file):
        stuck.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.append(True)

    async def go(api):
        await site.transformer.start()
        monkeypatch.setattr(site.predictors["http://p2:80"], "bundle_file", never)
        api.put(site.text(2, site.entry(1, weight=50), site.entry(2, weight=50)))
        await stuck.wait()
        api.put(site.text(3, site.entry(1)))
        await site.applied(3)
        assert given_up
        assert site.closed == ["http://p2:80"]
        assert await site.versions() == V1

    watched(go, lambda api: api.put(site.text(1, site.entry(1))))


def test_a_bundle_that_is_being_loaded_is_loaded_once_for_all_routes_that_name_it(site, watched, wait, monkeypatch):
    asked, held = [], asyncio.Event()
    two = site.predictors["http://p2:80"]
    bundle_file = two.bundle_file

    async def slow(model, file):
        asked.append(file)
        await held.wait()
        return await bundle_file(model, file)

    async def go(api):
        await site.transformer.start()
        monkeypatch.setattr(two, "bundle_file", slow)
        for revision in range(2, 6):
            api.put(site.text(revision, site.entry(1, weight=100 - revision), site.entry(2, weight=revision)))
            await wait(lambda wanted=revision: site.transformer._source.keeper.wanted.revision == wanted)
        assert site.transformer.revision == 1
        held.set()
        await site.applied(5)
        assert len(asked) == len(set(asked))

    watched(go, lambda api: api.put(site.text(1, site.entry(1))))


def test_a_pod_that_lags_is_not_ready_but_only_behind_most_others(site, watched, wait):
    two = site.predictors["http://p2:80"]
    files = two.files

    async def go(api):
        await site.transformer.start()
        lag = site.transformer.status.lag
        two.files = {}
        route = site.text(2, {**site.entry(2), "digest": FakePredictor(files).digest})
        api.put(route)
        await wait(lambda: site.transformer.counters.route_failed >= 3)
        told = site.told()
        assert (told["revision"], told["error"]["revision"]) == (1, 2)
        assert lag() is None, "nobody knows that others are further"
        api.put(route, annotations={MOST_APPLY: "2"})
        await wait(lambda: lag() is not None)
        assert "most pods apply revision 2 of the route, this one 1" in lag()
        assert await site.versions() == V1, "it answers all the same"
        two.files = files
        await site.applied(2)
        assert (lag(), site.told()["error"]) == (None, None)
        api.silent = True
        api.hang_up()
        await wait(lambda: site.told()["confirmed_s"] > 0.5)
        assert lag() is None, "an API server that is away is no lag"

    watched(go, lambda api: api.put(site.text(1, site.entry(1))), route_lag_s=0.2)


def test_a_transformer_that_closes_at_any_moment_leaves_nothing_open(site, watched):
    async def go(_):
        starting = asyncio.ensure_future(site.transformer.start())
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)

    watched(go, lambda api: api.put(site.text(1, site.entry(1))))

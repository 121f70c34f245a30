"""The watch of a route's ConfigMap: cut, ended, expired, denied, and an API server that is not there at all."""

import asyncio
import socket

import pytest

from penstock_transformer.kube_api import KubeApi

NAME = "penstock-route-flights"
V1, V2 = {"1": 40}, {"2": 40}


def test_a_watch_that_is_cut_without_a_word_is_found_out(site, watched, wait):
    async def go(api):
        await site.transformer.start()
        api.mute = True
        api.put(site.text(2, site.entry(2)), tell=False)
        await site.applied(2)
        api.mute = False
        await wait(lambda: len(api.watches) > 1)
        api.put(site.text(3, site.entry(3)))
        await site.applied(3)

    watched(go, lambda api: api.put(site.text(1, site.entry(1))))


@pytest.mark.parametrize("first", [True, False])
def test_an_answer_that_is_older_than_what_the_watch_told_is_no_news(site, watched, wait, first):
    """With no ConfigMap at first, the late answer says that there is none."""

    async def go(api):
        await site.transformer.start()
        await wait(lambda: api.watches)
        api.late, asked = asyncio.Event(), api.gets
        await wait(lambda: api.gets > asked)
        api.put(site.text(2, site.entry(2)))
        await site.applied(2)
        api.late.set()
        await wait(lambda: api.gets > asked + 2)
        assert (site.transformer.counters.route_rejected, site.told()["error"], len(api.watches)) == (0, None, 1)

    watched(go, lambda api: api.put(site.text(1, site.entry(1))) if first else None)


def test_410_gone_lists_again(site, watched, wait):
    async def go(api):
        await site.transformer.start()
        await wait(lambda: api.watches)
        api.put(site.text(2, site.entry(2)), tell=False)
        api.tell({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})
        await site.applied(2)
        await wait(lambda: api.lists == 2)

    # Nothing but the list brings it.
    watched(go, lambda api: api.put(site.text(1, site.entry(1))), route_confirm_s=600)


@pytest.mark.parametrize("event", [{"type": "MODIFIED", "object": {"metadata": {}}}, {"type": "MODIFIED"}, {"type": 1}])
def test_an_event_that_is_none_lists_again(site, watched, wait, event):
    async def go(api):
        await site.transformer.start()
        await wait(lambda: api.watches)
        api.tell(event)
        await wait(lambda: api.lists == 2)

    watched(go, lambda api: api.put(site.text(1, site.entry(1))), route_confirm_s=600)


def test_a_connection_that_breaks_goes_on_where_it_was(site, watched, wait):
    async def go(api):
        await site.transformer.start()
        await wait(lambda: api.watches)
        api.put(site.text(2, site.entry(2)))
        await site.applied(2)
        api.hang_up()
        api.put(site.text(3, site.entry(3)), tell=False)
        await site.applied(3)
        assert (api.lists, api.watches[-1]) == (1, "102")

    watched(go, lambda api: api.put(site.text(1, site.entry(1))), route_confirm_s=600)


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_read_follows_the_predictor_and_says_why(site, watched, wait, status):
    async def go(api):
        await site.transformer.start()
        assert await site.versions() == V1
        assert (site.told()["source"], site.told()["confirmed_s"]) == ("predictor", None)
        assert "not for you" in site.told()["error"]["message"]
        assert site.transformer.status.lag() is None
        api.denied = None
        api.put(site.text(2, site.entry(2)))
        await site.applied(2)
        assert site.told()["error"] is None

    watched(go, lambda api: setattr(api, "denied", status))


def test_a_route_that_is_named_is_waited_for(site, watched, wait):
    async def go(api):
        starting = asyncio.ensure_future(site.transformer.start())
        await wait(lambda: site.told()["error"] is not None)
        assert not starting.done()
        api.denied = None
        api.put(site.text(2, site.entry(2)))
        await starting
        assert await site.versions() == V2

    watched(go, lambda api: setattr(api, "denied", 403), route_configmap=NAME)


def test_an_api_server_that_is_away_is_waited_for_and_then_the_predictor_is_followed(site, run, monkeypatch):
    monkeypatch.setattr("penstock_transformer.route.configmap_route.PATIENCE_S", 0.1)

    async def go():
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            site.api = KubeApi("127.0.0.1", closed.getsockname()[1], namespace="there")
            site.make()
            await site.transformer.start()
            assert (await site.versions(), site.told()["source"]) == (V1, "predictor")
            assert site.transformer.status.lag() is None
            await site.transformer.close()

    run(go())

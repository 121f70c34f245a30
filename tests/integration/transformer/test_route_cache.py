"""The route that a transformer kept: what it begins with while the API server is away, and what it does not believe."""

import pytest

V1, V2 = {"1": 40}, {"2": 40}
FILE = "penstock-route-flights.json"


def test_a_kept_route_is_used_while_the_api_server_is_away_and_no_longer(site, watched, wait, tmp_path):
    cache = tmp_path / "cache"

    async def first(api):
        await site.transformer.start()
        await wait(lambda: list(cache.glob("*.json")))

    async def second(api):
        await site.transformer.start()
        assert (await site.versions(), site.told()["revision"], site.told()["source"]) == (V2, 4, "cache")
        assert site.told()["confirmed_s"] is None
        assert "not for you" not in str(site.told()["error"])
        api.denied = None
        api.put(site.text(5, site.entry(3)))
        await site.applied(5)
        assert site.told()["source"] == "configmap"

    watched(first, lambda api: api.put(site.text(4, site.entry(2))), route_cache=cache)
    watched(second, lambda api: setattr(api, "denied", 500), route_cache=cache)


def test_a_kept_route_stands_for_a_configmap_that_was_broken_meanwhile(site, watched, wait, tmp_path):
    async def first(_):
        await site.transformer.start()
        await wait(lambda: list(tmp_path.glob("*.json")))

    async def second(api):
        await site.transformer.start()
        assert (await site.versions(), site.told()["source"]) == (V2, "cache")
        assert site.told()["error"]["field"] == "revision"
        assert site.told()["confirmed_s"] is not None
        api.put(site.text(5, site.entry(3)))
        await site.applied(5)

    watched(first, lambda api: api.put(site.text(4, site.entry(2))), route_cache=tmp_path)
    watched(second, lambda api: api.put(site.text(3, site.entry(1))), route_cache=tmp_path)


def test_that_there_was_none_is_kept_too(site, watched, wait, tmp_path):
    async def first(_):
        await site.transformer.start()
        await wait(lambda: list(tmp_path.glob("*.json")))

    async def second(_):
        await site.transformer.start()
        assert await site.versions() == V1

    watched(first, route_cache=tmp_path)
    watched(second, lambda api: setattr(api, "denied", 500), route_cache=tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"formatVersion": 2}', b'{"formatVersion": 1, "uid": 1, "route": 2}', b"\xff"])
def test_a_cache_that_is_broken_is_none(site, watched, tmp_path, content):
    (tmp_path / FILE).write_bytes(content)

    async def go(_):
        await site.transformer.start()
        assert await site.versions() == V2

    watched(go, lambda api: api.put(site.text(4, site.entry(2))), route_cache=tmp_path)


def test_a_cache_that_cannot_be_written_keeps_nothing_from_going_on(site, watched, tmp_path, caplog, wait):
    (tmp_path / "file").write_text("")

    async def go(api):
        await site.transformer.start()
        await wait(lambda: "route cannot be kept" in caplog.text)
        api.put(site.text(5, site.entry(3)))
        await site.applied(5)

    watched(go, lambda api: api.put(site.text(4, site.entry(2))), route_cache=tmp_path / "file")

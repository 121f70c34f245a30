"""Routes and endpoints against a real Kubernetes API: its watches, its rights, its tokens, and what it does when it goes away."""

import asyncio
import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.testing.kubernetes import MERGE, ApiStatus
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until
from penstock_transformer.route.configmap import MOST_APPLY

NAME = "penstock-route-flights"
V1, V2, V3 = {"1": 40}, {"2": 40}, {"3": 40}


@pytest.fixture
def routed(site: Any, space: Any, run: Any) -> Callable[..., None]:
    """Run a test with a transformer that asks the real API: `routed(go, route_cache=…)`."""

    def runner(go: Callable[[], Any], **given: Any) -> None:
        async def inside() -> None:
            site.api = space.api()
            site.make(**{"route_confirm_s": 0.5, **given})
            try:
                await go()
            finally:
                await site.transformer.close()

        run(inside())

    return runner


def test_a_route_comes_changes_breaks_and_goes(site: Any, space: Any, routed: Any, wait: Any) -> None:
    async def go() -> None:
        await site.transformer.start()
        assert (await site.versions(), site.told()["source"]) == (V1, "predictor")
        await space.away(space.put, site.text(1, site.entry(2)))
        await site.applied(1)
        assert (await site.versions(), site.told()["source"]) == (V2, "configmap")
        await space.away(space.put, site.text(2, site.entry(2, weight=50), site.entry(3, weight=50)))
        await site.applied(2)
        wrong = [
            ({"data": {"route.yaml": "bundles: ["}}, "route"),
            ({"data": {"route.yaml": "x" * 1_000_000}}, "data[route.yaml]"),
            ({"binaryData": {"route.yaml": base64.b64encode(bytes(range(256)) * 100).decode()}}, "data[route.yaml]"),
            ({"data": {"route.yml": site.text(3, site.entry(1))}}, "data[route.yaml]"),
            ({"data": {"route.yaml": site.text(1, site.entry(1))}}, "revision"),
            ({"data": {"route.yaml": site.text(2, site.entry(1))}}, "revision"),
            ({"data": {"route.yaml": site.text(9, site.entry(1), model="trains")}}, "model"),
        ]
        for document, field in wrong:
            await space.away(space.replace, document)
            await wait(lambda expected=field: (site.told()["error"] or {}).get("field") == expected)
            assert site.transformer.revision == 2
        await space.away(space.kubernetes.request, "DELETE", space.path)
        await wait(lambda: "is gone" in str(site.told()["error"]))
        assert set(await site.versions()) == {"2", "3"}
        # Made again: another object, which may begin with 1.
        await space.away(space.put, site.text(1, site.entry(3)))
        await site.applied(1)
        assert (await site.versions(), site.told()["error"]) == (V3, None)

    routed(go)


def test_a_change_is_seen_as_it_is_made(site: Any, space: Any, routed: Any) -> None:
    """The time is printed, and held to nothing: the machine may be doing anything."""

    async def go() -> None:
        await space.away(space.put, site.text(1, site.entry(1, weight=1), site.entry(2, weight=1)))
        await site.transformer.start()
        waited = []
        for revision in range(2, 22):
            await space.away(space.put, site.text(revision, site.entry(1, weight=1), site.entry(2, weight=revision)))
            written = time.monotonic()
            await site.applied(revision)
            waited.append(time.monotonic() - written)
        print(f"applied after {sorted(waited)[10] * 1e3:.0f} ms in the middle, {max(waited) * 1e3:.0f} ms at worst")

    # The get that confirms comes too seldom to be what brings them.
    routed(go, route_confirm_s=600)


def test_hundreds_of_changes_end_with_the_last(site: Any, space: Any, routed: Any) -> None:
    async def go() -> None:
        await space.away(space.put, site.text(1, site.entry(1)))
        await site.transformer.start()

        def change() -> None:
            for revision in range(2, 402):
                space.put(site.text(revision, site.entry(1, weight=revision), site.entry(2, weight=1)))

        began = time.monotonic()
        changing = asyncio.ensure_future(space.away(change))
        while not changing.done():
            assert (await site.versions(20)).keys() <= {"1", "2"}
        print(f"{400 / (time.monotonic() - began) * 60:.0f} changes a minute")
        await site.applied(401)
        assert site.transformer.counters.route_rejected == 0
        assert site.told()["error"] is None

    routed(go)


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_an_api_server_that_goes_away_takes_nothing_with_it(
    site: Any, space: Any, routed: Any, wait: Any, how: str, tmp_path: Path
) -> None:
    kubernetes = space.kubernetes

    async def go() -> None:
        await space.away(space.put, site.text(1, site.entry(1)))
        await site.transformer.start()
        await wait(lambda: list(tmp_path.glob("*.json")))
        await space.away(getattr(kubernetes, how))
        first = site.transformer
        await wait(lambda: site.told()["confirmed_s"] > 1.5)
        assert (await site.versions(), site.told()["error"], first.status.lag()) == (V1, None, None)
        # One that starts meanwhile goes by what was kept.
        await first.close()
        site.make(route_confirm_s=0.5, route_cache=tmp_path)
        await site.transformer.start()
        assert (await site.versions(), site.told()["source"], site.told()["confirmed_s"]) == (V1, "cache", None)
        await space.away(kubernetes.start if how == "kill" else kubernetes.resume)
        await space.away(space.put, site.text(2, site.entry(2)))
        await site.applied(2)
        await wait(lambda: site.told()["confirmed_s"] < 1.5)

    routed(go, route_cache=tmp_path)


def test_an_api_server_that_is_restarted_again_and_again(site: Any, space: Any, routed: Any) -> None:
    async def go() -> None:
        await space.away(space.put, site.text(1, site.entry(1)))
        await site.transformer.start()
        for revision, version in ((2, "2"), (3, "3")):
            await space.away(space.kubernetes.kill)
            await space.away(space.kubernetes.start)
            await space.away(space.put, site.text(revision, site.entry(int(version))))
            await site.applied(revision)
            assert await site.versions() == {version: 40}

    routed(go)


def test_rights_that_are_taken_away_and_given_back(site: Any, space: Any, routed: Any, wait: Any) -> None:
    kubernetes = space.kubernetes

    async def go() -> None:
        await space.away(space.put, site.text(1, site.entry(1)))
        await site.transformer.start()
        await space.away(kubernetes.allow, space.name, "transformer", [])
        await wait(lambda: "forbidden" in str(site.told()["error"]))
        assert (await site.versions(), site.transformer.status.lag()) == (V1, None)
        # A watch that is open stays so: the API server asks for rights at its begin alone.
        await space.away(kubernetes.allow, space.name, "transformer", space.rules)
        await space.away(space.put, site.text(2, site.entry(2)))
        await site.applied(2)
        await wait(lambda: site.told()["error"] is None)

    routed(go)


def test_who_may_read_nothing_follows_the_predictor(site: Any, space: Any, routed: Any, wait: Any) -> None:
    async def go() -> None:
        await space.away(space.kubernetes.allow, space.name, "transformer", [])
        await site.transformer.start()
        assert (await site.versions(), site.told()["source"]) == (V1, "predictor")
        # The API server may take a moment to know of it.
        await wait(lambda: "forbidden" in str(site.told()["error"]))

    routed(go)


def test_a_token_that_is_replaced_is_read_anew(site: Any, space: Any, routed: Any, wait: Any) -> None:
    kubernetes = space.kubernetes
    accounts = f"/api/v1/namespaces/{space.name}/serviceaccounts"

    def rotate() -> None:
        # The account made anew: what was a token before is none any more.
        kubernetes.request("DELETE", f"{accounts}/transformer")
        kubernetes.request("POST", accounts, {"metadata": {"name": "transformer"}})

    async def go() -> None:
        await space.away(space.put, site.text(1, site.entry(1)))
        await site.transformer.start()
        await space.away(rotate)
        await wait(lambda: "401" in str(site.told()["error"]))
        (space.account / "token").write_text("")
        site.transformer._source._watch.renew()
        (space.account / "token").write_text(await space.away(kubernetes.token, space.name, "transformer"))
        await space.away(space.put, site.text(2, site.entry(2)))
        await site.applied(2)
        await wait(lambda: site.told()["error"] is None)

    routed(go)


def test_a_pod_that_lags_hears_of_most_others_from_the_annotation(site: Any, space: Any, routed: Any, wait: Any) -> None:
    async def go() -> None:
        await space.away(space.put, site.text(1, site.entry(1)))
        await site.transformer.start()
        files, site.predictors["http://p2:80"].files = site.predictors["http://p2:80"].files, {}
        missing = {**site.entry(2), "digest": "sha256:" + "0" * 64}
        await space.away(space.put, site.text(2, missing))
        await wait(lambda: (site.told()["error"] or {}).get("revision") == 2)
        assert site.transformer.status.lag() is None
        note = {"metadata": {"annotations": {MOST_APPLY: "2"}}}
        await space.away(lambda: space.kubernetes.request("PATCH", space.path, note, kind=MERGE))
        await wait(lambda: site.transformer.status.lag() is not None)
        site.predictors["http://p2:80"].files = files
        await space.away(space.put, site.text(3, site.entry(2)))
        await site.applied(3)
        assert site.transformer.status.lag() is None

    routed(go, route_lag_s=0.2)


def test_a_configmap_that_nobody_may_read_is_none_of_the_account_s_rights(space: Any) -> None:
    token = (space.account / "token").read_text()
    with pytest.raises(ApiStatus, match="forbidden"):
        space.kubernetes.request("GET", f"/api/v1/namespaces/{space.name}/configmaps", token=token)
    with pytest.raises(ApiStatus, match="not found"):
        space.kubernetes.request("GET", space.path, token=token)


def test_the_program_watches_acknowledges_and_turns_unready(space: Any, site: Any, tmp_path: Path) -> None:
    """Two processes of a transformer, started without anything but the route: they wait for it, and are then not ready for it."""
    import httpx

    from penstock.dataplane import TensorMetadata
    from penstock.testing.bundles import write_bundle
    from penstock.testing.models import mlp

    outputs = (TensorMetadata("y", "FP32", (-1, 1)),)
    digest = write_bundle(tmp_path / "one", mlp((3, 4, 1)), None, name="flights", outputs=outputs)
    options = ("--model_name", "flights", "--model_dir", str(tmp_path / "one"), "--profile_s", "0", "--drain_delay_s", "0")
    with ServerProcess("penstock_predictor", *options) as predictor:
        entry = {"digest": digest, "predictor": predictor.url, "weight": 1}
        transformer = ServerProcess(
            "penstock_transformer",
            *("--model_name", "flights", "--route_configmap", NAME, "--service_account", str(space.account), "--workers", "2"),
            *("--route_lag_s", "0.3", "--drain_delay_s", "0"),
            env=space.kubernetes.environment,
            ready_s=120,
        ).start()
        try:
            transformer.wait_event("supervising", 60)
            space.put(site.text(1, entry))
            transformer.wait_ready()
            admin = f"{transformer.admin_url}/route"
            acknowledged = httpx.get(admin, timeout=30).json()
            assert (acknowledged["revision"], acknowledged["applied"], acknowledged["error"]) == (1, [digest], None)
            assert acknowledged["confirmed_s"] < 60
            gone = {**entry, "digest": "sha256:" + "0" * 64}
            space.put(site.text(2, entry | {"weight": 2}, gone), annotations={MOST_APPLY: "2"})
            ready = f"{transformer.url}/v2/health/ready"

            def seen() -> tuple[int, Any]:
                return httpx.get(ready, timeout=30).status_code, httpx.get(admin, timeout=30).json()

            until(lambda: seen()[0] == 503, 60, "it is not ready for revision 2")
            lagging = seen()[1]
            assert (lagging["revision"], lagging["error"]["revision"]) == (1, 2)
            body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [0.5] * 3}]}
            assert httpx.post(f"{transformer.url}/v2/models/flights/infer", json=body, timeout=30).status_code == 200
            space.put(site.text(3, entry), annotations={MOST_APPLY: "3"})
            until(lambda: (found := seen())[0] == 200 and found[1]["revision"] == 3, 60, "it applies revision 3, and is ready")
            assert seen()[1]["error"] is None
        finally:
            assert transformer.stop() == 0

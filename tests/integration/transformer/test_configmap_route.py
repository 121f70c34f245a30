"""The route from a ConfigMap, against an API server that lists, watches, denies, falls silent, forgets and hangs up on demand."""

import asyncio
import socket
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from penstock.errors import UpstreamUnavailable
from penstock.testing.bundles import FakePredictor
from penstock_transformer.kube_api import KubeApi
from penstock_transformer.route.configmap import MOST_APPLY

PATH = "/api/v1/namespaces/there/configmaps"
NAME = "penstock-route-flights"
V1, V2 = {"1": 40}, {"2": 40}


class FakeApi:
    """The API server of one ConfigMap, `held`. `denied`: the status that every request gets; `mute`: watches are cut, and nobody
    is told; `silent`: no request is answered."""

    def __init__(self):
        self.held = None
        self.version = 100
        self.denied = None
        self.silent = False
        self.mute = False
        self.uid = "first"
        self.lists = self.gets = 0
        self.watches = []
        self._queues = []
        self._writers = set()
        self._serving = set()

    def put(self, text, *, uid=None, tell=True, annotations=None, **data):
        self.version += 1
        self.uid = uid or self.uid
        metadata = {"name": NAME, "uid": self.uid, "resourceVersion": str(self.version), "annotations": annotations}
        kind = "ADDED" if self.held is None else "MODIFIED"
        self.held = {"metadata": metadata, "data": {"route.yaml": text} if text is not None else {}, **data}
        if tell:
            self.tell({"type": kind, "object": self.held})

    def delete(self):
        self.version += 1
        gone, self.held = self.held, None
        metadata = {**gone["metadata"], "resourceVersion": str(self.version)}
        self.tell({"type": "DELETED", "object": {**gone, "metadata": metadata}})

    def tell(self, event):
        for queue in self._queues:
            if not self.mute:
                queue.put_nowait(event)

    def hang_up(self):
        for writer in self._writers:
            writer.close()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        self._serving.add(asyncio.current_task())
        try:
            target = urlsplit((await reader.readuntil(b"\r\n\r\n")).decode().split()[1])
            asked = parse_qs(target.query)
            if self.silent:
                await reader.read()
            elif self.denied is not None:
                self._answer(writer, self.denied, {"kind": "Status", "code": self.denied, "message": "not for you"})
            elif target.path == f"{PATH}/{NAME}":
                self.gets += 1
                self._answer(writer, 200 if self.held else 404, self.held or {})
            elif "watch" in asked:
                assert asked["fieldSelector"] == [f"metadata.name={NAME}"]
                await self._watch(writer, asked["resourceVersion"][0])
            else:
                self.lists += 1
                items = [self.held] if self.held else []
                self._answer(writer, 200, {"metadata": {"resourceVersion": str(self.version)}, "items": items})
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _watch(self, writer, version):
        self.watches.append(version)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        queue = asyncio.Queue()
        if self.held and int(self.held["metadata"]["resourceVersion"]) > int(version) and not self.mute:
            queue.put_nowait({"type": "MODIFIED", "object": self.held})
        self._queues.append(queue)
        try:
            while not writer.is_closing():
                line = orjson.dumps(await queue.get()) + b"\n"
                writer.write(b"%x\r\n%b\r\n" % (len(line), line))
                await writer.drain()
        finally:
            self._queues.remove(queue)

    def _answer(self, writer, status, document):
        body = orjson.dumps(document)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


@pytest.fixture
def watched(site, run):
    """Run a test with an API server and a transformer that asks it: `watched(go, route_cache=…)`, `go(api)`."""

    def runner(go, before=None, **given):
        async def inside():
            async with FakeApi() as api:
                site.api = KubeApi("127.0.0.1", api.port, namespace="there")
                if before is not None:
                    before(api)
                site.make(**given)
                try:
                    await go(api)
                finally:
                    await site.transformer.close()

        run(inside())

    return runner


def answer(site):
    return site.transformer.status.answer(site.transformer.table.route)


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
        told = answer(site)
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
        assert (await site.versions(), answer(site)["revision"], answer(site)["source"]) == (V1, 0, "predictor")
        api.put(site.text(7, site.entry(2)))
        await site.applied(7)
        assert (await site.versions(), answer(site)["source"]) == (V2, "configmap")
        asked = len(site.own.calls)
        site.own.files = site.predictors["http://p3:80"].files
        api.delete()
        await wait(lambda: answer(site)["error"] is not None)
        assert "is gone" in answer(site)["error"]["message"]
        assert (await site.versions(), site.transformer.revision) == (V2, 7)
        assert len(site.own.calls) == asked
        # Made again by somebody who begins to count anew.
        api.put(site.text(1, site.entry(3)), uid="second")
        await site.applied(1)
        assert (await site.versions(), answer(site)["error"]) == ({"3": 40}, None)

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
        await wait(lambda: answer(site)["error"] is not None)
        assert (answer(site)["error"]["revision"], answer(site)["error"]["field"]) == (revision, field)
        assert (await site.versions(), site.transformer.revision) == (V1, 1)
        assert site.transformer.counters.route_rejected == 1
        # As it was: nothing is wrong any more.
        api.put(site.text(1, site.entry(1)))
        await wait(lambda: answer(site)["error"] is None)
        api.put(site.text(2, site.entry(2)))
        await site.applied(2)

    watched(go, lambda api: api.put(site.text(1, site.entry(1))))


@pytest.mark.parametrize("revision", [4, 5])
def test_a_revision_that_goes_back_or_means_another_route_is_refused(site, watched, wait, revision):
    async def go(api):
        await site.transformer.start()
        api.put(site.text(revision, site.entry(2)))
        await wait(lambda: answer(site)["error"] is not None)
        assert (answer(site)["error"]["revision"], answer(site)["error"]["field"]) == (revision, "revision")
        assert (await site.versions(), site.transformer.revision) == (V1, 5)

    watched(go, lambda api: api.put(site.text(5, site.entry(1))))


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
        assert (answer(site)["source"], answer(site)["confirmed_s"]) == ("predictor", None)
        assert "not for you" in answer(site)["error"]["message"]
        assert site.transformer.status.lag() is None
        api.denied = None
        api.put(site.text(2, site.entry(2)))
        await site.applied(2)
        assert answer(site)["error"] is None

    watched(go, lambda api: setattr(api, "denied", status))


def test_a_route_that_is_named_is_waited_for(site, watched, wait):
    async def go(api):
        starting = asyncio.ensure_future(site.transformer.start())
        await wait(lambda: answer(site)["error"] is not None)
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
            assert (await site.versions(), answer(site)["source"]) == (V1, "predictor")
            assert site.transformer.status.lag() is None
            await site.transformer.close()

    run(go())


def test_a_kept_route_is_used_while_the_api_server_is_away_and_no_longer(site, watched, wait, tmp_path):
    cache = tmp_path / "cache"

    async def first(api):
        await site.transformer.start()
        await wait(lambda: list(cache.glob("*.json")))

    async def second(api):
        await site.transformer.start()
        assert (await site.versions(), answer(site)["revision"], answer(site)["source"]) == (V2, 4, "cache")
        assert answer(site)["confirmed_s"] is None
        assert "not for you" not in str(answer(site)["error"])
        api.denied = None
        api.put(site.text(5, site.entry(3)))
        await site.applied(5)
        assert answer(site)["source"] == "configmap"

    watched(first, lambda api: api.put(site.text(4, site.entry(2))), route_cache=cache)
    watched(second, lambda api: setattr(api, "denied", 500), route_cache=cache)


def test_a_kept_route_stands_for_a_configmap_that_was_broken_meanwhile(site, watched, wait, tmp_path):
    async def first(_):
        await site.transformer.start()
        await wait(lambda: list(tmp_path.glob("*.json")))

    async def second(api):
        await site.transformer.start()
        assert (await site.versions(), answer(site)["source"]) == (V2, "cache")
        assert answer(site)["error"]["field"] == "revision"
        assert answer(site)["confirmed_s"] is not None
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
    (tmp_path / f"{NAME}.json").write_bytes(content)

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
        told = answer(site)
        assert (told["revision"], told["error"]["revision"]) == (1, 2)
        assert lag() is None, "nobody knows that others are further"
        api.put(route, annotations={MOST_APPLY: "2"})
        await wait(lambda: lag() is not None)
        assert "most pods apply revision 2 of the route, this one 1" in lag()
        assert await site.versions() == V1, "it answers all the same"
        two.files = files
        await site.applied(2)
        assert (lag(), answer(site)["error"]) == (None, None)
        api.silent = True
        api.hang_up()
        await wait(lambda: answer(site)["confirmed_s"] > 0.5)
        assert lag() is None, "an API server that is away is no lag"

    watched(go, lambda api: api.put(site.text(1, site.entry(1))), route_lag_s=0.2)


def test_a_transformer_that_closes_at_any_moment_leaves_nothing_open(site, watched):
    async def go(_):
        starting = asyncio.ensure_future(site.transformer.start())
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)

    watched(go, lambda api: api.put(site.text(1, site.entry(1))))

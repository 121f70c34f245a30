"""The watch of an API: what it asks for, and the pauses between, whatever the server answers."""

import asyncio

import pytest

from penstock_transformer import kube_watch
from penstock_transformer.kube_api import KubeApiError
from penstock_transformer.kube_watch import KubeWatch


class Objects:
    """What is watched: counts."""

    def __init__(self):
        self.version = ""
        self.applied = []

    def replace(self, document):
        self.version = document["version"]

    def apply(self, event):
        self.applied.append(event)
        self.version = event.get("version", self.version)
        return event["type"] != "ERROR"


class Api:
    """Answers by script: each list and each watch takes the next step. The script's last step is for ever."""

    def __init__(self, lists, watches):
        self.lists = lists
        self.watches = watches
        self.asked = []
        self.closed = 0

    def _next(self, steps):
        return steps.pop(0) if len(steps) > 1 else steps[0]

    async def get(self, path):
        self.asked.append("list")
        step = self._next(self.lists)
        if isinstance(step, Exception):
            raise step
        return step

    async def watch(self, path, silent_s):
        self.asked.append(path.partition("resourceVersion=")[2].partition("&")[0])
        try:
            for event in self._next(self.watches):
                if isinstance(event, Exception):
                    raise event
                if event == "hold":
                    await asyncio.Event().wait()
                yield event
        finally:
            self.closed += 1


class Pauses:
    """Takes sleeping's place: keeps its lengths, and ends the test after so many."""

    def __init__(self, most):
        self.most = most
        self.seen = []
        self.done = asyncio.Event()

    async def sleep(self, seconds):
        self.seen.append(seconds)
        if len(self.seen) >= self.most:
            self.done.set()
            await asyncio.Event().wait()


def watch(monkeypatch, api, pauses):
    async def go():
        waits = Pauses(pauses)
        monkeypatch.setattr(kube_watch.asyncio, "sleep", waits.sleep)
        monkeypatch.setattr(kube_watch.random, "uniform", lambda _least, most: most)
        objects, told, failed = Objects(), [], []
        running = asyncio.ensure_future(
            KubeWatch(api, "/x", {}, objects, lambda: told.append(objects.version), failed.append, longest_pause_s=5).run()
        )
        try:
            async with asyncio.timeout(30):
                await waits.done.wait()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return waits.seen, objects, told, failed

    return asyncio.run(go())


def test_pauses_grow_as_long_as_nothing_comes(monkeypatch):
    api = Api([KubeApiError("away")], [[]])
    pauses, _, told, failed = watch(monkeypatch, api, 8)
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]
    assert told == []
    assert len(failed) == 8


def test_who_is_denied_asks_seldom(monkeypatch):
    pauses, _, _, _ = watch(monkeypatch, Api([KubeApiError("not for you", 403)], [[]]), 10)
    assert pauses[:6] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4]
    assert pauses[-1] == 30


@pytest.mark.parametrize("step", [[], [{"type": "ERROR"}], [KubeApiError("gone", 410)], [{"no": "type"}], [KubeApiError("cut")]])
def test_a_server_that_ends_every_watch_at_once_is_not_asked_busily(monkeypatch, step):
    api = Api([{"version": "1"}], [step])
    pauses, _, _, _ = watch(monkeypatch, api, 8)
    assert pauses[-3:] == [5, 5, 5]
    assert pauses == sorted(pauses)


def test_a_watch_that_brings_something_begins_the_pauses_anew(monkeypatch):
    api = Api([KubeApiError("away"), KubeApiError("away"), {"version": "1"}], [[{"type": "ADDED", "version": "2"}], []])
    pauses, _, told, _ = watch(monkeypatch, api, 5)
    assert pauses == [0.2, 0.4, 0.2, 0.4, 0.8]
    assert told == ["1", "2"]
    assert api.asked[:5] == ["list", "list", "list", "1", "2"]


def test_after_410_a_list_comes_first_and_bookmarks_are_not_told(monkeypatch):
    bookmark = {"type": "BOOKMARK", "version": "9"}
    api = Api([{"version": "1"}, {"version": "20"}], [[bookmark, KubeApiError("gone", 410)], ["hold"]])

    async def go():
        objects, told = Objects(), []
        it = KubeWatch(api, "/x", {}, objects, lambda: told.append(objects.version), lambda _: None)
        monkeypatch.setattr(kube_watch, "_FIRST_PAUSE_S", 0.001)
        running = asyncio.ensure_future(it.run())
        async with asyncio.timeout(30):
            while len(api.asked) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0)
            it.renew()
            while len(api.asked) < 5:  # noqa: ASYNC110
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return told

    assert asyncio.run(go()) == ["1", "20"]
    assert api.asked == ["list", "1", "list", "20", "20"]
    assert api.closed == 3, "no connection is left behind"

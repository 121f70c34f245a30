"""The route file, watched: applied whole, rejected whole, bundles brought in and let go."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
import yaml

from penstock.dataplane import Context
from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.testing.bundles import FakePredictor, bundle_files
from penstock_transformer.requests import PredictRequest
from penstock_transformer.route.file_watch import RouteFileWatcher, read_now
from penstock_transformer.settings import PipelineSettings
from penstock_transformer.transformer import Transformer

FEATURES = """
formatVersion: 1
features:
  - {name: a, from: request, type: float32, missing: reject, encode: passthrough}
  - {name: b, from: request, type: float32, missing: {default: 2}, encode: passthrough}
  - {name: c, from: request, type: float32, missing: {default: 3}, encode: passthrough}
tensors: {x: [a, b, c]}
"""


class Site:
    """Predictors by address, and a transformer that routes between them by a file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "route.yaml"
        self.predictors = {f"http://p{n}:80": FakePredictor(bundle_files(FEATURES, version=str(n))) for n in (1, 2, 3)}
        self.closed: list[str] = []
        settings = PipelineSettings(model_name="flights", route_file=self.file, route_poll_s=0.02)
        self.transformer = Transformer(settings)
        watcher = self.transformer._source
        assert isinstance(watcher, RouteFileWatcher)
        watcher.keeper.applier.connect = self.connect
        self.watcher = watcher

    def connect(self, address):
        async def close() -> None:
            self.closed.append(address)

        return self.predictors[address], close

    def entry(self, number: int, **given):
        address = f"http://p{number}:80"
        return {"digest": self.predictors[address].digest, "predictor": address, **given}

    def write(self, revision: int, *entries, **given) -> None:
        document = {"formatVersion": 1, "revision": revision, "model": "flights", "bundles": list(entries), **given}
        # Swapped in as a mounted ConfigMap is: never half a file.
        new = self.file.with_suffix(".new")
        new.write_text(yaml.safe_dump(document))
        new.replace(self.file)

    async def applied(self, revision: int) -> None:
        async with asyncio.timeout(20):
            while self.transformer.revision != revision:
                await self.watcher.look()

    async def versions(self, count: int = 40) -> Counter:
        replies = []
        for i in range(count):
            reply = asyncio.get_running_loop().create_future()
            request = PredictRequest("flights", Context("r", route_key=str(i)), rows=[{"a": 1.0}])
            self.transformer.predict(request, Reply(reply))
            replies.append(reply)
        return Counter([(await reply).version for reply in replies])


class Reply:
    disconnected = False

    def __init__(self, future) -> None:
        self.put, self.error = future.set_result, future.set_exception


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def run(coroutine):
    async def bounded():
        async with asyncio.timeout(60):
            await coroutine

    asyncio.run(bounded())


def test_weights_shift_and_the_old_bundle_is_let_go(site):
    async def go():
        site.write(1, site.entry(1, weight=100))
        await site.transformer.start()
        assert site.transformer.revision == 1
        assert await site.versions() == {"1": 40}
        site.write(2, site.entry(1, weight=50), site.entry(2, weight=50))
        await site.applied(2)
        both = await site.versions()
        assert set(both) == {"1", "2"}
        assert await site.versions() == both
        site.write(3, site.entry(2, weight=100))
        await site.applied(3)
        assert await site.versions() == {"2": 40}
        await asyncio.sleep(0)
        assert site.closed == ["http://p1:80"]
        await site.transformer.close()
        assert sorted(site.closed) == ["http://p1:80", "http://p2:80"]

    run(go())


def test_a_bundle_in_use_is_closed_only_when_its_batches_are_done(site):
    async def go():
        site.write(1, site.entry(1, weight=100))
        await site.transformer.start()
        one = site.predictors["http://p1:80"]
        one.held = []
        asked = asyncio.ensure_future(site.versions(3))
        await one.called.wait()
        site.write(2, site.entry(2, weight=100))
        await site.applied(2)
        assert site.closed == []
        one.release()
        assert await asked == {"1": 3}
        await asyncio.sleep(0)
        assert site.closed == ["http://p1:80"]
        await site.transformer.close()

    run(go())


def test_an_unforeseen_fault_does_not_end_the_watch(site, monkeypatch, caplog):
    async def go():
        site.write(1, site.entry(1, weight=100))
        await site.transformer.start()
        two = site.predictors["http://p2:80"]
        asked = asyncio.Event()

        async def broken(_model, _file):
            asked.set()
            raise RuntimeError("nobody thought of this")

        with monkeypatch.context() as patched:
            patched.setattr(two, "bundle_file", broken)
            site.write(2, site.entry(2, weight=100))
            await asked.wait()
            table, swapped = site.transformer.table, asyncio.Event()
            apply = table.apply
            table.apply = lambda route: (apply(route), swapped.set())
        await swapped.wait()
        assert site.transformer.revision == 2
        assert "nobody thought of this" in caplog.text
        assert site.transformer.counters.route_failed >= 1
        await site.transformer.close()

    run(go())


def test_what_was_loaded_for_a_route_that_never_came_is_closed(site):
    async def go():
        site.write(1, site.entry(1, weight=100))
        await site.transformer.start()
        site.predictors["http://p3:80"].files = {}
        gone = {**site.entry(3, weight=1), "digest": "sha256:" + "0" * 64}
        site.write(2, site.entry(2, weight=100), gone)
        assert not await site.watcher.look()
        await site.transformer.close()
        assert {"http://p1:80", "http://p2:80", "http://p3:80"} <= set(site.closed)

    run(go())


@pytest.mark.parametrize("text", ["bundles: [", "", "formatVersion: 1\nrevision: 9\nmodel: trains\nbundles: []", "\xff"])
def test_a_wrong_file_changes_nothing(site, text):
    async def go():
        site.write(1, site.entry(1, weight=100))
        await site.transformer.start()
        site.file.write_text(text, encoding="latin-1")
        await site.watcher.look()
        assert site.transformer.revision == 1
        assert site.transformer.counters.route_rejected >= 1
        assert await site.versions() == {"1": 40}
        site.file.unlink()
        await site.watcher.look()
        assert await site.versions() == {"1": 40}
        site.write(2, site.entry(2, weight=100))
        await site.applied(2)
        await site.transformer.close()

    run(go())


def test_a_bundle_that_cannot_be_had_holds_the_whole_route(site):
    async def go():
        site.write(1, site.entry(1, weight=100))
        await site.transformer.start()
        two = site.predictors["http://p2:80"]
        files, two.files = two.files, {}
        entry = {**site.entry(2, weight=50), "digest": FakePredictor(files).digest}
        site.write(2, site.entry(1, weight=50), entry)
        assert not await site.watcher.look()
        assert site.transformer.revision == 1
        assert site.transformer.counters.route_failed >= 1
        two.files = files
        await site.applied(2)
        await site.transformer.close()

    run(go())


def test_a_route_to_another_digest_than_the_predictor_holds_is_not_applied(site):
    async def go():
        site.write(1, site.entry(1, weight=100))
        await site.transformer.start()
        site.write(2, {**site.entry(2, weight=1), "digest": "sha256:" + "0" * 64})
        assert not await site.watcher.look()
        assert site.transformer.revision == 1
        await site.transformer.close()

    run(go())


def test_shadows_see_copies_and_their_failures_reach_nobody(site):
    async def go():
        site.write(1, site.entry(1, weight=100), site.entry(3, mode="shadow", fraction=1.0))
        await site.transformer.start()
        shadow = site.predictors["http://p3:80"]
        shadow.failure = lambda _: UpstreamUnavailable("no")
        assert await site.versions() == {"1": 40}
        await shadow.called.wait()
        assert site.transformer.counters.shadow_copies == 40
        await site.transformer.close()

    run(go())


def test_a_slow_shadow_is_bounded_and_delays_nobody(tmp_path):
    async def go():
        site = Site(tmp_path)
        settings = PipelineSettings(model_name="flights", route_file=site.file, shadow_queue_items=5, max_batch_rows=4)
        site.transformer = Transformer(settings)
        site.watcher = site.transformer._source
        site.watcher.keeper.applier.connect = site.connect
        site.write(1, site.entry(1, weight=100), site.entry(3, mode="shadow", fraction=1.0))
        await site.transformer.start()
        shadow = site.predictors["http://p3:80"]
        shadow.held = []
        for _ in range(5):
            assert await site.versions() == {"1": 40}
        counters = site.transformer.counters
        assert counters.shadow_copies == 200
        assert counters.shadow_dropped >= 180
        shadow.release()
        await site.transformer.close()

    run(go())


def test_reading_a_file_to_check_it(tmp_path, site):
    site.write(5, site.entry(1, weight=1))
    assert read_now(site.file, "flights").revision == 5
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_now(tmp_path / "none.yaml", "flights")

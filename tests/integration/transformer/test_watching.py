"""The route file, watched: applied whole, rejected whole, bundles brought in and let go."""

import asyncio

import pytest

from penstock.errors import UpstreamUnavailable
from penstock.testing.bundles import FakePredictor


@pytest.fixture
def watcher(site):
    """What watches the site's file for its transformer."""
    return site.make_filed()


def test_weights_shift_and_the_old_bundle_is_let_go(site, watcher, run):
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


def test_a_bundle_in_use_is_closed_only_when_its_batches_are_done(site, watcher, run):
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


def test_an_unforeseen_fault_does_not_end_the_watch(site, monkeypatch, caplog, watcher, run):
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


def test_what_was_loaded_for_a_route_that_never_came_is_closed(site, watcher, run):
    async def go():
        site.write(1, site.entry(1, weight=100))
        await site.transformer.start()
        site.predictors["http://p3:80"].files = {}
        gone = {**site.entry(3, weight=1), "digest": "sha256:" + "0" * 64}
        site.write(2, site.entry(2, weight=100), gone)
        assert not await watcher.look()
        await site.transformer.close()
        assert {"http://p1:80", "http://p2:80", "http://p3:80"} <= set(site.closed)

    run(go())


@pytest.mark.parametrize("text", ["bundles: [", "", "formatVersion: 1\nrevision: 9\nmodel: trains\nbundles: []", "\xff"])
def test_a_wrong_file_changes_nothing(site, text, watcher, run):
    async def go():
        site.write(1, site.entry(1, weight=100))
        await site.transformer.start()
        site.file.write_text(text, encoding="latin-1")
        await watcher.look()
        assert site.transformer.revision == 1
        assert site.transformer.counters.route_rejected >= 1
        assert await site.versions() == {"1": 40}
        site.file.unlink()
        await watcher.look()
        assert await site.versions() == {"1": 40}
        site.write(2, site.entry(2, weight=100))
        await site.applied(2)
        await site.transformer.close()

    run(go())


@pytest.mark.parametrize("changed", ["", "bundle.yaml", "features.yaml", "encoder.onnx"])
def test_a_bundle_that_cannot_be_had_or_was_changed_holds_the_whole_route(site, watcher, run, changed):
    async def go():
        site.write(1, site.entry(1, weight=100))
        await site.transformer.start()
        two = site.predictors["http://p2:80"]
        files = two.files
        two.files = {**files, changed: bytes([files[changed][0] ^ 1]) + files[changed][1:]} if changed else {}
        entry = {**site.entry(2, weight=50), "digest": FakePredictor(files).digest}
        site.write(2, site.entry(1, weight=50), entry)
        assert not await watcher.look()
        assert (site.transformer.revision, await site.versions()) == (1, {"1": 40})
        assert site.transformer.counters.route_failed >= 1
        error = site.told()["error"]
        assert changed in f"{error['field']}: {error['message']}"
        two.files = files
        await site.applied(2)
        await site.transformer.close()

    run(go())


def test_a_route_to_another_digest_than_the_predictor_holds_is_not_applied(site, watcher, run):
    async def go():
        site.write(1, site.entry(1, weight=100))
        await site.transformer.start()
        site.write(2, {**site.entry(2, weight=1), "digest": "sha256:" + "0" * 64})
        assert not await watcher.look()
        assert site.transformer.revision == 1
        await site.transformer.close()

    run(go())


def test_shadows_see_copies_and_their_failures_reach_nobody(site, watcher, run):
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


def test_a_slow_shadow_is_bounded_and_delays_nobody(site, run):
    async def go():
        site.make_filed(shadow_queue_items=5, max_batch_rows=4)
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


def test_a_call_names_the_digest_of_its_entry_and_the_name_its_predictor_serves_it_under(site, watcher, run):
    async def go():
        theirs = site.predictors["http://p2:80"]
        theirs.model = "flights-2"
        site.write(1, site.entry(1, weight=50), site.entry(2, weight=50, model="flights-2"))
        await site.transformer.start()
        assert set(await site.versions()) == {"1", "2"}
        for predictor, name in ((site.predictors["http://p1:80"], "flights"), (theirs, "flights-2")):
            assert predictor.calls
            assert {(c.model, c.context.expect_bundle) for c in predictor.calls} == {(name, predictor.digest)}
        await site.transformer.close()

    run(go())


def test_a_predictor_with_another_digest_is_not_believed_and_the_other_entry_answers(site, watcher, wait, run):
    async def go():
        site.write(1, site.entry(1, weight=50), site.entry(2, weight=50))
        await site.transformer.start()
        one = site.predictors["http://p1:80"]
        one.files = site.predictors["http://p3:80"].files
        assert await site.versions() == {"2": 40}
        assert site.transformer.counters.refused_calls > 0
        # Who asks for the version by its name gets that or none.
        reply = site.send(version="1")
        with pytest.raises(UpstreamUnavailable):
            await reply.future
        reply = site.send(expect_bundle=site.entry(2)["digest"])
        assert (await reply.future).version == "2"
        # A shadow's refusal is no reason to send its copies to those who answer.
        site.write(2, site.entry(2, weight=1), {**site.entry(3, mode="shadow", fraction=1.0)})
        await site.applied(2)
        site.predictors["http://p3:80"].files = site.predictors["http://p2:80"].files
        two = site.predictors["http://p2:80"]
        before = len(two.calls)
        await site.send().future
        await wait(lambda: site.transformer.counters.shadow_errors)
        assert len(two.calls) == before + 1
        await site.transformer.close()

    run(go())


def test_the_only_entry_is_never_answered_by_another_bundle(site, watcher, run):
    async def go():
        site.write(1, site.entry(1, weight=1))
        await site.transformer.start()
        site.predictors["http://p1:80"].files = site.predictors["http://p3:80"].files
        with pytest.raises(UpstreamUnavailable):
            await site.send().future
        # The operator has seen it, and names what is there now.
        site.write(2, {**site.entry(3), "predictor": "http://p1:80"})
        await site.applied(2)
        assert await site.versions() == {"3": 40}
        await site.transformer.close()

    run(go())


def test_a_copy_that_waits_keeps_its_shadow_open(site, wait, run):
    async def go():
        site.make_filed(max_batch_rows=1)
        site.write(1, site.entry(1, weight=1), site.entry(3, mode="shadow", fraction=1.0))
        await site.transformer.start()
        shadow = site.predictors["http://p3:80"]
        shadow.held = []
        assert await site.versions(5) == {"1": 5}
        await shadow.called.wait()
        site.write(2, site.entry(1, weight=1))
        await site.applied(2)
        assert "http://p3:80" not in site.closed
        shadow.release()
        await wait(lambda: "http://p3:80" in site.closed)
        assert len(shadow.calls) == 5
        assert site.transformer.counters.shadow_errors == 0
        await site.transformer.close()

    run(go())

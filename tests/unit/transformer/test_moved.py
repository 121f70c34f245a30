"""A bundle without a pod: its requests are answered by another live bundle of the route, once, and only those that may be."""

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, infer
from penstock.errors import DeadlineExceeded, NotReady, UpstreamUnavailable
from penstock.tensors import Tensor
from penstock.testing.bundles import FakePredictor, bundle_files
from penstock_transformer.active import ActiveBundle
from penstock_transformer.call import ConnectionEnded, NoPod
from penstock_transformer.routing import Route, Target

ROW = {"distance": 10.0, "tailnum": "N1"}
GONE = NoPod("the predictor has no pod that is ready")
ENDED = ConnectionEnded("closed", one_pod=True)


def twin_of(bench, features, version="8"):
    """Another bundle of the same features, behind a predictor of its own."""
    live = bench.transformer.table.route.live[0].bundle
    predictor = FakePredictor(bundle_files(features, version=version))
    manifest = type(live.manifest)(live.manifest.name, version, live.manifest.model, live.manifest.postprocess, {})
    bundle = ActiveBundle(
        manifest, predictor.digest, predictor, "flights", plan=live.plan, encoder=live.encoder, store=live.store
    )
    return bundle, predictor


def halves(bench, features):
    """The bench's bundle and a twin, half of the requests each."""
    live = bench.transformer.table.route.live[0].bundle
    bundle, predictor = twin_of(bench, features)
    bench.transformer.table.apply(Route(1, (Target(live, 50), Target(bundle, 50))))
    return live, bundle, predictor


def fail_with(predictor, error):
    predictor.failure = lambda _: error


def encoded(**context):
    tensor = Tensor.from_array("x", np.ones((1, 3), np.float32))
    return InferRequest("flights", [tensor], Context("r", **context), parameters={"encoded": True})


@pytest.mark.parametrize("error", [GONE, ENDED])
def test_the_other_bundle_answers_and_is_named(bench, run, features, error):
    async def go():
        async with bench() as b:
            _, bundle, other = halves(b, features)
            fail_with(b.predictor, error)
            answers = [await b.ask([ROW], route_key=str(i)) for i in range(40)]
            assert {a.bundle for a in answers} == {bundle.label}
            assert {a.version for a in answers} == {"8"}
            moved = b.transformer.counters.moved_requests
            assert 0 < moved < 40
            assert moved == len(b.predictor.calls)
            assert b.transformer.counters.call_errors == {"upstream_unavailable": moved}
            assert {call.context.expect_bundle for call in other.calls} == {bundle.digest}

    run(go())


def test_so_are_tensors_that_pass_through(bench, run, features):
    async def go():
        async with bench() as b:
            _, bundle, _ = halves(b, features)
            fail_with(b.predictor, GONE)
            answers = [await infer(b.transformer, encoded(route_key=str(i))) for i in range(40)]
            assert {a.bundle for a in answers} == {bundle.label}
            assert b.transformer.counters.moved_requests == len(b.predictor.calls) > 0
            with pytest.raises(NoPod):
                await infer(b.transformer, encoded(expect_bundle=b.predictor.digest))

    run(go())


@pytest.mark.parametrize(
    "error",
    [ConnectionEnded("closed"), UpstreamUnavailable("no connection within 2 s"), DeadlineExceeded("late"), NotReady("draining")],
    ids=["ended twice, or in its answer", "connecting took too long", "late", "refused by the predictor"],
)
def test_what_may_have_begun_is_not_moved(bench, run, features, error):
    async def go():
        async with bench() as b:
            _, _, other = halves(b, features)
            fail_with(b.predictor, error)
            fail_with(other, error)
            await b.fails(type(error), [ROW], route_key="k")
            assert len(b.predictor.calls) + len(other.calls) == 1
            with pytest.raises(type(error)):
                await infer(b.transformer, encoded(route_key="k"))
            assert len(b.predictor.calls) + len(other.calls) == 2

    run(go())


def test_who_names_a_bundle_or_a_version_gets_that_or_an_error(bench, run, features):
    async def go():
        async with bench() as b:
            live, _, other = halves(b, features)
            fail_with(b.predictor, GONE)
            for named in ({"expect_bundle": live.digest}, {"version": live.version}):
                failed = await b.fails(NoPod, [ROW], **named)
                assert failed.bundle == live.label
            assert not other.calls

    run(go())


def test_it_is_moved_once_and_tells_what_ended_the_first(bench, run, features):
    """What a connection ended with at first is told, so that a record that ends predictors is found out."""

    async def go():
        async with bench() as b:
            _, _, other = halves(b, features)
            fail_with(b.predictor, ENDED)
            fail_with(other, GONE)
            failed = [await b.fails(UpstreamUnavailable, [ROW], route_key=str(i)) for i in range(40)]
            assert len(b.predictor.calls) + len(other.calls) == 80
            assert all(isinstance(error, ConnectionEnded) for error in failed)
            for i in range(8):
                with pytest.raises(ConnectionEnded):
                    await infer(b.transformer, encoded(route_key=str(i)))

    run(go())


def test_a_bundle_that_gets_no_requests_takes_none_over(bench, run, features):
    async def go():
        async with bench() as b:
            live = b.transformer.table.route.live[0].bundle
            bundle, other = twin_of(b, features)
            b.transformer.table.apply(Route(1, (Target(live, 100), Target(bundle, 0))))
            fail_with(b.predictor, GONE)
            await b.fails(NoPod, [ROW])
            assert not other.calls

    run(go())


def test_a_shadow_without_a_pod_sends_its_copies_to_nobody(bench, run, features):
    async def go():
        async with bench() as b:
            live = b.transformer.table.route.live[0].bundle
            bundle, other = twin_of(b, features)
            b.transformer.table.apply(Route(1, (Target(live, 1),), (Target(bundle, fraction=1.0),)))
            fail_with(other, GONE)
            assert (await b.ask([ROW])).bundle == live.label
            await infer(b.transformer, encoded())
            while b.transformer.counters.shadow_errors < 2:
                other.called.clear()
                await other.called.wait()
            assert len(b.predictor.calls) == 2
            assert b.transformer.counters.moved_requests == 0

    run(go())

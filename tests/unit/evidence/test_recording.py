"""What a transformer counts of requests that succeed, fail, name their bundle, come late, leave, or pass through."""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from penstock.bundle.manifest import PostprocessSpec
from penstock.dataplane import Context, InferRequest, TensorMetadata
from penstock.errors import Internal, PenstockError
from penstock.evidence.document import Entry
from penstock.tensors import Array, Tensor
from penstock.testing.bundles import FakePredictor, bundle_files
from penstock_transformer.evidence import recorder as module
from penstock_transformer.evidence.families import evidence_families
from penstock_transformer.loading import load_bundle
from penstock_transformer.requests import PredictRequest
from penstock_transformer.route_families import route_families
from penstock_transformer.routing import Route, Target
from penstock_transformer.settings import PipelineSettings
from penstock_transformer.transformer import Transformer

FEATURES = """
formatVersion: 1
features:
  - {name: a, from: request, type: float32, missing: reject, encode: passthrough}
tensors: {x: [a]}
"""
PROFILE: dict[str, Any] = {
    "features": {"a": {"edges": [0.0, 1.0], "counts": [10]}},
    "predictions": {"labels": {"values": {"late": 3, "on time": 7}}},
}
OTHER_PROFILE: dict[str, Any] = {
    "features": {"a": {"edges": [0.0, 0.5], "counts": [4]}},
    "predictions": {"labels": {"values": {"cancelled": 3}}, "scores": {"late": {"edges": [0.0, 0.33, 1.0], "counts": [2, 2]}}},
}


def files(version: str, features: str | None = FEATURES, profile: dict[str, Any] = PROFILE) -> dict[str, bytes]:
    return bundle_files(
        features,
        version=version,
        inputs=(TensorMetadata("x", "FP32", (-1, 1)),),
        outputs=(TensorMetadata("y", "FP32", (-1, 2)),),
        postprocess=PostprocessSpec("classification", "y", labels=("on time", "late")),
        files={"profile.json": json.dumps(profile).encode()},
    )


def scores(tensors: dict[str, Array]) -> dict[str, Array]:
    """`late` is the feature."""
    late = tensors["x"][:, 0]
    return {"y": np.stack([1 - late, late], axis=1)}


def turned(tensors: dict[str, Array]) -> dict[str, Array]:
    """Labels swapped."""
    return {"y": scores(tensors)["y"][:, ::-1].copy()}


class Reply:
    """Waits for one answer."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.disconnected = False

    def put(self, response: Any) -> None:
        self.future.set_result(response)

    def error(self, error: PenstockError) -> None:
        self.future.set_exception(error)


class Bench:
    """A transformer over predictors of two versions; the second is a shadow, or live, or nothing. A third one can be kept."""

    def __init__(self, features: str | None = FEATURES) -> None:
        self.predictors = [FakePredictor(files(str(n), features), compute=compute) for n, compute in ((1, scores), (2, turned))]
        self.kept = FakePredictor(files("3", features, OTHER_PROFILE), compute=scores)
        self.transformer = Transformer(PipelineSettings(model_name="flights"), predictor=self.predictors[0])
        self.recorder = self.transformer.table.recorder

    async def route(self, revision: int, *, weight: float = 0.0, fraction: float = 0.0, kept: bool = False) -> None:
        stores = self.transformer.stores
        first, second, third = [await load_bundle(p, "flights", p.digest, stores) for p in (*self.predictors, self.kept)]
        live = [Target(first, 1.0)]
        live += [Target(second, weight)] if weight else []
        live += [Target(third, 0.0)] if kept else []
        self.transformer.table.apply(Route(revision, tuple(live), (Target(second, 0.0, fraction),) if fraction else ()))

    def send(self, *rows: Any, version: str | None = None, **context: Any) -> Reply:
        reply = Reply()
        sent = [{"a": value} for value in rows or (0.2,)]
        self.transformer.predict(PredictRequest("flights", Context("r", **context), rows=sent, version=version), reply)
        return reply

    def entry(self, shadow: bool = False, revision: int | None = None) -> Entry:
        found = [e for e in self.recorder.entries() if e.shadow == shadow and revision in (None, e.revision)]
        (entry,) = [e for e in found if e.bundle == self.predictors[1 if shadow else 0].digest]
        return entry


def run(test: Callable[[Bench], Awaitable[None]], features: str | None = FEATURES) -> None:
    async def whole() -> None:
        bench = Bench(features)
        async with asyncio.timeout(60):
            await bench.route(1)
            await test(bench)
            await bench.transformer.drain()
        await bench.transformer.close()

    asyncio.run(whole())


def test_requests_of_one_batch_are_counted_apart() -> None:
    async def test(bench: Bench) -> None:
        replies = [
            bench.send(0.2, 0.9),
            bench.send(0.5, route_key="anna"),
            bench.send("much"),
            bench.send(None, route_key="anna"),
        ]
        await asyncio.gather(*(reply.future for reply in replies), return_exceptions=True)
        entry = bench.entry()
        assert (entry.requests, entry.rows, entry.errors) == (4, 5, {"invalid_input": 2})
        # anna was seen once, and failed once.
        assert (entry.keys, entry.failed_keys) == (3, {"invalid_input": 2})
        assert [sum(n for _, n in counts) for counts in (entry.latency.call, entry.latency.request)] == [1, 2]
        assert (sum(n for _, n in entry.latency.keys), entry.latency.batches) == (2, 1)
        assert entry.outputs["label"].counts == [1, 2, 0, 0]
        assert sum(entry.outputs["scores.late"].counts) == sum(entry.features["a"].counts) == 3
        # One row of each request.
        assert sum(entry.outputs["scores.late"].keys) == 2
        assert entry.features["a"].keys == []

    run(test)


def test_latency_and_answers_of_a_key_are_those_of_its_first_request() -> None:
    async def test(bench: Bench) -> None:
        for late, key in ((0.9, "anna"), (0.1, "anna"), (0.1, "bert"), (0.1, "anna")):
            await bench.send(late, route_key=key).future
        entry = bench.entry()
        assert (entry.requests, entry.keys) == (4, 2)
        assert (sum(n for _, n in entry.latency.request), sum(n for _, n in entry.latency.keys)) == (4, 2)
        assert (entry.outputs["label"].counts, entry.outputs["label"].keys) == ([1, 3, 0, 0], [1, 1, 0, 0])
        shown = [line for metric in evidence_families(bench.recorder) for line in metric.samples]
        assert [s.value for s in shown if s.name == "penstock_evidence_request_seconds_count"] == [4]

    run(test)


def test_who_the_callers_are_is_told_where_they_stick_to_one_of_several_bundles() -> None:
    async def test(bench: Bench) -> None:
        assert [entry.callers for entry in bench.recorder.entries()] == [None]
        await bench.route(2, weight=1.0)
        for minute in range(3):
            # A minute that no clock ends.
            bench.recorder.window.begin(time.monotonic())
            bench.recorder.window.end_s = math.inf
            replies = [bench.send(0.9 if number % 2 else 0.2, route_key=f"caller {number}") for number in range(20)]
            replies += [bench.send(0.1 * minute), bench.send(0.5, route_key="caller 1")]
            await asyncio.gather(*(reply.future for reply in replies))
        entries = [entry for entry in bench.recorder.entries() if entry.revision == 2]
        told = [entry.callers for entry in entries if entry.callers is not None]
        assert sum(one.keyed for one in told) == 60
        assert sum(entry.keys for entry in entries) == 63
        assert sum(one.came.distinct for one in told) == 20
        assert all(count == 3 for one in told for _, count in one.came.counts)
        # Each gets what it got before, and each minute is compared with the last.
        assert {name: sum(one.alike[name][0] for one in told) for name in told[0].alike} == {
            "label": 40,
            "scores.late": 40,
            "scores.on time": 40,
        }
        assert all(pairs == same for one in told for pairs, same in one.alike.values())
        assert sum(count for one in told for _, count in one.quicker) == 40
        await bench.route(3, fraction=1.0)
        await asyncio.gather(*(bench.send(route_key=f"caller {number}").future for number in range(5)))
        assert [entry.callers for entry in bench.recorder.entries() if entry.revision == 3] == [None, None]

    run(test)


def test_other_pods_of_a_bundle_are_counted_apart() -> None:
    async def test(bench: Bench) -> None:
        predictor = bench.predictors[0]
        stable, apart = [await load_bundle(predictor, "flights", predictor.digest, bench.transformer.stores) for _ in range(2)]
        live = (Target(stable, 3.0, together=4.0), Target(apart, 1.0, arm="baseline", together=4.0))
        bench.transformer.table.apply(Route(2, live))
        replies = [bench.send(0.2, route_key=str(number)) for number in range(200)]
        await asyncio.gather(*(reply.future for reply in replies))
        found = {entry.arm: entry for entry in bench.recorder.entries() if entry.revision == 2}
        assert {entry.bundle for entry in found.values()} == {predictor.digest}
        assert sum(entry.requests for entry in found.values()) == 200
        assert 20 <= found["baseline"].requests <= 80
        shown = "\n".join(str(metric) for metric in evidence_families(bench.recorder))
        assert "'mode': 'baseline'" in shown
        assert bench.transformer.status.answer(bench.transformer.table.route)["applied"] == [predictor.digest]
        samples = [s for metric in route_families(bench.transformer.table) for s in metric.samples]
        assert len({(s.name, *s.labels.values()) for s in samples}) == len(samples) == 2

    run(test)


def test_who_names_a_bundle_or_version_is_nobodys_evidence() -> None:
    async def test(bench: Bench) -> None:
        await bench.send(version="1").future
        await bench.send(expect_bundle=bench.predictors[0].digest).future
        assert bench.entry().requests == 0

    run(test)


def test_a_predictor_that_fails_is_told_by_kind() -> None:
    async def test(bench: Bench) -> None:
        bench.predictors[0].failure = lambda _: Internal("broken")
        for _ in range(3):
            with pytest.raises(Internal):
                await bench.send().future
        entry = bench.entry()
        assert (entry.requests, entry.errors, entry.failed_keys) == (3, {"internal": 3}, {"internal": 3})
        assert entry.latency.request == []
        assert sum(entry.outputs["label"].counts) == 0

    run(test)


def test_a_deadline_that_passes_and_a_caller_who_leaves() -> None:
    async def test(bench: Bench) -> None:
        bench.predictors[0].held = []
        late = bench.send(deadline=time.monotonic() + 0.05)
        with pytest.raises(PenstockError, match="deadline"):
            await late.future
        bench.predictors[0].release()
        await bench.transformer.drain()
        entry = bench.entry()
        assert (entry.requests, entry.errors) == (1, {"deadline_exceeded": 1})
        assert sum(n for _, n in entry.latency.request) == 1

    run(test)


def test_a_shadow_with_swapped_labels_differs_on_every_request() -> None:
    async def test(bench: Bench) -> None:
        await bench.route(2, fraction=1.0)
        await asyncio.gather(*(bench.send(0.1, 0.9).future for _ in range(5)), bench.send(0.3).future)
        await _until(lambda: bench.entry(shadow=True).requests == 6)
        paired = bench.entry(shadow=True).paired
        assert paired is not None
        assert (paired.requests, paired.agreeing, paired.differing) == (6, 0, 6)
        assert sum(n for _, n in paired.score_differences) == sum(n for _, n in paired.latency_ratios) == 6
        assert bench.entry(revision=2).requests == 6

    run(test)


def test_a_shadow_that_fails_is_told_by_its_pairs() -> None:
    async def test(bench: Bench) -> None:
        await bench.route(2, fraction=1.0)
        bench.predictors[1].failure = lambda _: Internal("broken")
        await bench.send().future
        with pytest.raises(PenstockError):
            await bench.send("much").future
        await _until(lambda: bench.entry(shadow=True).requests == 2)
        shadow = bench.entry(shadow=True)
        assert shadow.paired is not None
        assert (shadow.paired.requests, shadow.paired.only_shadow_failed, shadow.paired.both_failed) == (2, 1, 1)
        assert shadow.errors == {"internal": 1, "invalid_input": 1}
        assert bench.entry(revision=2).errors == {"invalid_input": 1}

    run(test)


def test_requests_that_pass_through_are_counted_and_compared() -> None:
    async def test(bench: Bench) -> None:
        await bench.route(2, fraction=1.0)
        reply = Reply()
        tensor = Tensor.from_array("x", np.array([[0.2], [0.9]], np.float32))
        bench.transformer.submit(InferRequest("flights", [tensor], Context("r", route_key="anna")), reply)
        await reply.future
        await _until(lambda: bench.entry(shadow=True).requests == 1)
        entry, paired = bench.entry(revision=2), bench.entry(shadow=True).paired
        assert (entry.requests, entry.rows, entry.keys) == (1, 2, 1)
        assert entry.outputs["label"].counts == [1, 1, 0, 0]
        assert paired is not None
        assert (paired.requests, paired.differing) == (1, 1)

    run(test, features=None)


def test_a_new_route_begins_new_sums_and_old_ones_go(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MOST_ENTRIES", 2)

    async def test(bench: Bench) -> None:
        await bench.send().future
        await bench.route(2, weight=1.0)
        for revision in range(3, 9):
            await bench.send().future
            await bench.route(revision)
        entries = bench.recorder.entries()
        assert [entry.revision for entry in entries] == [6, 7, 8]
        assert [entry.requests for entry in entries] == [1, 1, 0]

    run(test)


def test_no_counter_of_a_bundle_of_the_route_falls() -> None:
    async def test(bench: Bench) -> None:
        before: dict[Any, float] = {}
        for revision in range(2, 22):
            await bench.route(revision, **({"weight": 0.5} if revision % 3 else {"fraction": 1.0}))
            replies = [bench.send(value, route_key=str(number)) for number, value in enumerate((0.1, 0.4, 0.9, "much"))]
            await asyncio.gather(*(reply.future for reply in replies), return_exceptions=True)
            await _until(lambda: all(sums.requests == 4 for sums in bench.recorder.shadows.values()))
            told = [family for family in evidence_families(bench.recorder) if family.type != "gauge"]
            shown = {(sample.name, *sample.labels.items()): sample.value for family in told for sample in family.samples}
            assert {name: (count, shown.get(name)) for name, count in before.items() if shown.get(name, 0) < count} == {}
            before = shown
        assert sum(n for name, n in before.items() if name[::2] == ("penstock_evidence_requests_total", ("mode", "live"))) == 80
        for revision in range(22, 22 + module.MOST_ENTRIES + 1):
            await bench.route(revision)
        assert {entry.bundle for entry in bench.recorder.dropped()} == {bench.predictors[0].digest}

    run(test)


def test_bundles_of_one_route_are_counted_in_the_same_bins() -> None:
    async def test(bench: Bench) -> None:
        bench.predictors[1].files = files("2", profile=OTHER_PROFILE)
        await bench.route(2, weight=1.0)
        ours, theirs = [entry for entry in bench.recorder.entries() if entry.revision == 2]
        assert ours.features["a"].bins == theirs.features["a"].bins
        assert ours.features["a"].bins.edges == (0.0, 0.5, 1.0)
        assert ours.outputs["label"].bins == theirs.outputs["label"].bins
        assert ours.outputs["label"].bins.values == ("cancelled", "late", "on time")
        assert theirs.features["a"].training != ours.features["a"].training

    run(test)


def test_a_version_that_is_kept_changes_neither_the_bins_nor_what_keys_are() -> None:
    async def test(bench: Bench) -> None:
        for revision, kept in ((2, True), (3, False)):
            await bench.route(revision, weight=1.0, kept=kept)
        ours = [entry for entry in bench.recorder.entries() if entry.bundle == bench.predictors[0].digest and entry.revision > 1]
        for told in ("outputs", "features"):
            bins = [{name: one.bins for name, one in getattr(entry, told).items()} for entry in ours]
            assert bins[0] == bins[1]
        await bench.route(4, fraction=1.0, kept=True)
        # One answers everything: of nobody it is told who the callers are, and who failed counts again in the next minute.
        for _ in range(2):
            bench.recorder.window.begin(time.monotonic())
            bench.recorder.window.end_s = math.inf
            with pytest.raises(PenstockError):
                await bench.send("much", route_key="anna").future
        await _until(lambda: bench.entry(shadow=True, revision=4).requests == 2)
        for entry in (bench.entry(revision=4), bench.entry(shadow=True, revision=4)):
            assert (entry.keys, entry.failed_keys, entry.callers) == (2, {"invalid_input": 2}, None)

    run(test)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 what is waited for is on this loop; the test has a deadline
        await asyncio.sleep(0.01)

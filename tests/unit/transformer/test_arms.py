"""A route with an arm, applied: pods of its own for a part of a bundle's requests, calls of its own, and an end of its own."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from penstock.dataplane import Context, TensorMetadata
from penstock.errors import PenstockError
from penstock.testing.bundles import FakePredictor, bundle_files, digest_of
from penstock_transformer.call import NoPod
from penstock_transformer.requests import PredictRequest
from penstock_transformer.route.applying import RouteApplier
from penstock_transformer.route_file import read_route
from penstock_transformer.settings import PipelineSettings
from penstock_transformer.transformer import Transformer

FEATURES = """
formatVersion: 1
features:
  - {name: a, from: request, type: float32, missing: reject, encode: passthrough}
tensors: {x: [a]}
"""
OLD, NEW = (
    bundle_files(
        FEATURES, version=version, inputs=(TensorMetadata("x", "FP32", (-1, 1)),), outputs=(TensorMetadata("y", "FP32", (-1,)),)
    )
    for version in ("1", "2")
)


class Reply:
    disconnected = False

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def put(self, response: Any) -> None:
        self.future.set_result(response)

    def error(self, error: PenstockError) -> None:
        self.future.set_exception(error)


class Bench:
    """A transformer whose route names predictors at `http://stable`, `http://fresh` (the same bundle) and `http://new`."""

    def __init__(self) -> None:
        self.at = {"http://stable": FakePredictor(OLD), "http://fresh": FakePredictor(OLD), "http://new": FakePredictor(NEW)}
        self.closed: list[str] = []
        self.transformer = Transformer(PipelineSettings(model_name="flights"), predictor=self.at["http://stable"])
        self.applier = RouteApplier(self.transformer.table, self.transformer.stores, self.connect)

    def connect(self, address: str) -> tuple[FakePredictor, Callable[[], Awaitable[None]]]:
        async def close() -> None:
            self.closed.append(address)

        return self.at[address], close

    async def route(self, revision: int, **weights: int) -> None:
        lines = [f"formatVersion: 1\nrevision: {revision}\nmodel: flights\nbundles:"]
        for name, weight in weights.items():
            digest = digest_of(NEW if name == "new" else OLD)
            arm = ", arm: baseline" if name == "fresh" else ""
            lines.append(f'  - {{digest: "{digest}", predictor: "http://{name}", weight: {weight}{arm}}}')
        await self.applier.apply(read_route("\n".join(lines), "flights"))

    async def send(self, count: int) -> list[Any]:
        replies = []
        for number in range(count):
            reply = Reply()
            context = Context(str(number), route_key=str(number))
            self.transformer.predict(PredictRequest("flights", context, rows=[{"a": 1.0}]), reply)
            replies.append(reply)
        return [await reply.future for reply in replies]

    def rows(self) -> dict[str, int]:
        """How many rows each predictor was asked for."""
        return {
            address.removeprefix("http://"): sum(call.inputs[0].shape[0] for call in predictor.calls)
            for address, predictor in self.at.items()
        }


def run(test: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        bench = Bench()
        async with asyncio.timeout(60):
            await test(bench)
            await bench.transformer.drain()
        await bench.applier.close()
        await bench.transformer.close()

    asyncio.run(whole())


def test_an_arm_has_calls_and_counts_of_its_own() -> None:
    async def test(bench: Bench) -> None:
        # The arm stands first here: order means nothing.
        await bench.route(1, fresh=20, stable=60, new=20)
        answers = await bench.send(300)
        rows = bench.rows()
        assert sum(rows.values()) == 300
        assert all(30 <= rows[name] <= 100 for name in ("fresh", "new"))
        assert Counter(answer.bundle.rpartition("@")[2] for answer in answers)[bench.at["http://new"].digest] == rows["new"]
        counted = {
            (entry.bundle, entry.arm): entry.requests
            for entry in bench.transformer.table.recorder.entries()
            if entry.revision == 1
        }
        old, new = bench.at["http://stable"].digest, bench.at["http://new"].digest
        assert counted == {(old, ""): rows["stable"], (old, "baseline"): rows["fresh"], (new, ""): rows["new"]}

    run(test)


def test_when_an_arm_leaves_the_route_the_bundle_stays() -> None:
    async def test(bench: Bench) -> None:
        await bench.route(1, stable=60, new=20, fresh=20)
        await bench.send(50)
        before = bench.rows()["new"]
        await bench.route(2, stable=80, new=20)
        await bench.send(50)
        assert bench.closed == ["http://fresh"]
        assert bench.rows()["new"] == 2 * before, "the same callers are the new version's"

    run(test)


def test_requests_of_an_arm_without_pods_are_answered_by_the_bundles_others() -> None:
    async def test(bench: Bench) -> None:
        bench.at["http://fresh"].failure = lambda _: NoPod("no pod")
        await bench.route(1, stable=10, new=60, fresh=30)
        answers = await bench.send(200)
        assert len(answers) == 200
        rows = bench.rows()
        assert rows["stable"] + rows["new"] == 200
        assert rows["new"] < 160, "none of the arm's went to the heavier candidate"
        (arm,) = [entry for entry in bench.transformer.table.recorder.entries() if entry.arm]
        assert arm.moved == rows["fresh"] > 0
        assert arm.requests == 0

    run(test)


def test_a_route_whose_arm_cannot_be_had_is_not_applied() -> None:
    async def test(bench: Bench) -> None:
        await bench.route(1, stable=95, new=5)
        bench.at["http://fresh"].files = NEW
        with pytest.raises(PenstockError):
            await bench.route(2, stable=90, new=5, fresh=5)
        route = bench.transformer.table.route
        assert route is not None
        assert route.revision == 1

    run(test)

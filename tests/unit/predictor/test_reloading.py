"""Loading while serving, in process: what fails changes nothing, models do not hold each other up."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.bundle.files import digest_bytes
from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.bundle.manifest_text import write_manifest
from penstock.dataplane import InferResponse
from penstock.errors import Conflict, InvalidInput, NotFound, NotReady, Overloaded
from penstock.onnx import load
from penstock.onnx.exhaustion import OutOfMemory
from penstock.testing import models
from penstock_predictor.predictor import Predictor
from penstock_predictor.reloading import PredictorRepository
from penstock_predictor.repository import Place
from penstock_predictor.settings import ModelSettings
from penstock_predictor.source import DirectorySource

QUICK = ModelSettings(max_rows=2, profile_s=0.0, threads=1)
# What the fixtures of these names give.
Put = Callable[[Path, int], None]
HeldBy = Callable[[Path, Any], None]
Ask = Callable[..., Awaitable[InferResponse]]


def shown(entries: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return sorted((entry["name"], entry["version"], entry["state"]) for entry in entries)


def test_a_load_that_fails_changes_nothing_and_names_the_file(tmp_path: Path, put: Put, held_by: HeldBy) -> None:
    for version in ("1", "2"):
        put(tmp_path / version, int(version))

    async def work(repository: PredictorRepository, predictor: Predictor, _: Any) -> None:
        before = [entry["bundle"] for entry in predictor.index()]
        put(tmp_path / "1", 7)
        (tmp_path / "2" / "model.onnx").write_bytes(b"no")
        with pytest.raises(InvalidInput, match=r"^2/model\.onnx: not an ONNX model"):
            await repository.load("m")
        assert [entry["bundle"] for entry in predictor.index()] == before
        one, two = await repository.index()
        assert (one["state"], two["state"], one["reason"]) == ("READY", "READY", "")
        assert "2/model.onnx" in two["reason"]
        # The version that is whole can be loaded by itself, and the other stays as it was.
        await repository.load("m", "1")
        after = [entry["bundle"] for entry in predictor.index()]
        assert (after[0] != before[0], after[1] == before[1]) == (True, True)

    held_by(tmp_path, work)


def test_what_the_repository_lacks_and_what_it_does_not_know(tmp_path: Path, put: Put, held_by: HeldBy) -> None:
    put(tmp_path / "1", 1)

    async def work(repository: PredictorRepository, predictor: Predictor, loads: Any) -> None:
        for model, version, message in (("none", None, "no model 'none'"), ("m", "7", "no model 'm' of version '7'")):
            with pytest.raises(NotFound, match=message):
                await repository.load(model, version)
        with pytest.raises(InvalidInput, match=r"parameters\.config"):
            await repository.load("m", parameters={"config": "{}"})
        with pytest.raises(NotFound):
            await repository.unload("m", "7")
        assert len(loads.places) == 1
        assert len(repository._locks) == 0

    held_by(tmp_path, work)


def test_versions_are_unloaded_one_by_one(tmp_path: Path, put: Put, held_by: HeldBy, ask: Ask) -> None:
    for version in ("1", "2"):
        put(tmp_path / version, int(version))

    async def work(repository: PredictorRepository, predictor: Predictor, _: Any) -> None:
        await repository.unload("m", "2")
        assert shown(await repository.index()) == [("m", "1", "READY"), ("m", "2", "UNAVAILABLE")]
        assert shown(await repository.index(ready_only=True)) == [("m", "1", "READY")]
        assert (await ask(predictor)).version == "1"
        await repository.unload("m")
        with pytest.raises(NotFound):
            await ask(predictor)
        await repository.load("m", "2")
        assert (await ask(predictor)).version == "2"

    held_by(tmp_path, work)


def test_a_load_holds_up_nobody_elses_requests_and_its_own_model_only_for_loads(
    tmp_path: Path, put: Put, held_by: HeldBy, ask: Ask
) -> None:
    for model in ("a", "b"):
        put(tmp_path / model, 1)

    async def work(repository: PredictorRepository, predictor: Predictor, loads: Any) -> None:
        began, go_on = threading.Event(), threading.Event()

        def hold(place: Place) -> None:
            began.set()
            assert go_on.wait(20)

        loads.places.clear()
        loads.before = hold
        first = asyncio.create_task(repository.load("a"))
        second = asyncio.create_task(repository.load("a"))
        await asyncio.to_thread(began.wait, 20)
        # Both models answer while one of them is being loaded, and the other can be unloaded.
        assert (await ask(predictor, "b")).model == (await ask(predictor, "a")).model.replace("a", "b")
        await repository.unload("b")
        assert loads.places == ["a/None"]
        assert ("b", "", "UNAVAILABLE") in shown(await repository.index()) or ("b", "1", "UNAVAILABLE") in shown(
            await repository.index()
        )
        go_on.set()
        await asyncio.gather(first, second)
        assert loads.places == ["a/None", "a/None"]

    held_by(tmp_path, work)


def test_a_load_goes_on_when_its_caller_leaves_and_no_other_begins_beside_it(
    tmp_path: Path, put: Put, held_by: HeldBy, ask: Ask
) -> None:
    for name in ("a", "b"):
        put(tmp_path / name, 1)

    async def work(repository: PredictorRepository, predictor: Predictor, loads: Any) -> None:
        before = (await ask(predictor, "a")).bundle
        begun, go_on = threading.Event(), threading.Event()

        def wait(place: Place) -> None:
            if place.model == "a":
                begun.set()
                assert go_on.wait(30)

        loads.before = wait
        put(tmp_path / "a", 2)
        leaving = asyncio.create_task(repository.load("a"))
        assert await asyncio.to_thread(begun.wait, 30)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        count = len(loads.places)
        other = asyncio.create_task(repository.load("b"))
        await asyncio.to_thread(lambda: None)
        assert len(loads.places) == count
        go_on.set()
        await other
        assert (await ask(predictor, "a")).bundle != before
        assert not repository._under_way

    held_by(tmp_path, work)


def test_what_serves_is_told_while_a_model_is_fetched(tmp_path: Path, put: Put) -> None:
    put(tmp_path, 1)

    class Slow(DirectorySource):
        begun, go_on = threading.Event(), threading.Event()

        def places(self, model: str | None = None) -> list[Place]:
            if model is not None:
                self.begun.set()
                assert self.go_on.wait(30)
            return super().places(model)

        def names(self) -> list[tuple[str, str | None]]:
            return [("m", None)]

    async def run() -> None:
        predictor, source = Predictor(), Slow(tmp_path, "m")
        repository = PredictorRepository(predictor, source, QUICK)
        await repository.start()
        loading = asyncio.create_task(repository.load("m"))
        assert await asyncio.to_thread(source.begun.wait, 30)
        async with asyncio.timeout(30):
            assert shown(await repository.index()) == [("m", predictor.index()[0]["version"], "READY")]
        source.go_on.set()
        await loading
        await predictor.close()

    asyncio.run(run())


def test_files_that_change_while_they_are_read_never_serve(tmp_path: Path, put: Put, held_by: HeldBy, ask: Ask) -> None:
    put(tmp_path, 1)

    async def work(repository: PredictorRepository, predictor: Predictor, loads: Any) -> None:
        before = (await ask(predictor)).bundle
        seeds = iter(range(100, 200))
        loads.before = lambda _: put(tmp_path, next(seeds))
        with pytest.raises(Conflict, match="kept changing"):
            await repository.load("m")
        assert (await ask(predictor)).bundle == before
        times = iter((True, False))
        loads.before = lambda _: put(tmp_path, 300) if next(times) else None
        await repository.load("m")
        assert (await ask(predictor)).bundle != before

    held_by(tmp_path, work)


def test_a_bundle_whose_examples_come_out_otherwise_takes_no_traffic(tmp_path: Path, held_by: HeldBy, ask: Ask) -> None:
    model = models.mlp((3, 4, 1))
    session = load(model)

    def write(directory: Path, off: float) -> None:
        row = np.float32([[1, 2, 3]])
        line = {"tensors": {"x": row[0].tolist()}, "outputs": {"y": (session.run({"x": row})[0][0] + off).tolist()}}
        files = {"model.onnx": model, "golden.jsonl": json.dumps(line).encode()}
        signature = ModelSignature("model.onnx", session.inputs, session.outputs, True)
        manifest = Manifest("b", "7", signature, PostprocessSpec("raw"), {name: digest_bytes(d) for name, d in files.items()})
        directory.mkdir(exist_ok=True)
        for name, data in {**files, "bundle.yaml": write_manifest(manifest)}.items():
            (directory / name).write_bytes(data)

    write(tmp_path, 0.0)

    async def work(repository: PredictorRepository, predictor: Predictor, _: Any) -> None:
        before = (await ask(predictor)).bundle
        write(tmp_path, 0.5)
        with pytest.raises(InvalidInput, match=r"golden\.jsonl: line 1: output y: expected"):
            await repository.load("m")
        assert (await ask(predictor)).bundle == before

    held_by(tmp_path, work)


def test_a_process_that_drains_takes_no_model_any_more(tmp_path: Path, put: Put, held_by: HeldBy) -> None:
    put(tmp_path, 1)

    async def work(repository: PredictorRepository, predictor: Predictor, _: Any) -> None:
        before = predictor.index()
        await predictor.drain()
        put(tmp_path, 2)
        with pytest.raises(NotReady, match="shutting down"):
            await repository.load("m")
        assert predictor.index() == before

    held_by(tmp_path, work)


def test_a_load_without_memory_for_it_leaves_the_old_one_and_can_be_repeated(
    tmp_path: Path, put: Put, held_by: HeldBy, ask: Ask
) -> None:
    put(tmp_path, 1)

    async def work(repository: PredictorRepository, predictor: Predictor, loads: Any) -> None:
        before = (await ask(predictor)).bundle
        put(tmp_path, 2)

        def full(_: Place) -> None:
            raise OutOfMemory("the device's memory does not hold the model")

        loads.before = full
        with pytest.raises(Overloaded, match="does not hold the model"):
            await repository.load("m")
        assert (await ask(predictor)).bundle == before
        loads.before = lambda _: None
        await repository.load("m")
        assert (await ask(predictor)).bundle != before

    held_by(tmp_path, work)

"""Models that change in their folders: what settles is loaded, what is broken is forgiven, what cannot be had keeps nobody up."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from penstock.dataplane import InferResponse
from penstock.errors import UpstreamUnavailable
from penstock_predictor.fingerprint import fingerprint
from penstock_predictor.predictor import Predictor
from penstock_predictor.reloading import PredictorRepository
from penstock_predictor.repository import Place
from penstock_predictor.settings import ModelSettings
from penstock_predictor.watching import Settling, Watcher

QUICK = ModelSettings(max_rows=2, profile_s=0.0, threads=1)
# What the fixtures of these names give.
Put = Callable[[Path, int], None]
HeldBy = Callable[[Path, Any], None]
Ask = Callable[..., Awaitable[InferResponse]]


class Shelf:
    """A source of two models, of which one may be out of reach."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.away: set[str] = set()
        self.asked: list[str | None] = []

    def names(self) -> list[tuple[str, str | None]]:
        return [("a", None), ("b", None)]

    def places(self, model: str | None = None) -> list[Place]:
        self.asked.append(model)
        if model in self.away:
            raise UpstreamUnavailable(f"{model} cannot be read")
        return [Place(name, None, self.directory / name, False) for name, _ in self.names() if model in (None, name)]


def move(here: Path, there: Path) -> None:
    here.rename(there)


def test_a_model_that_cannot_be_fetched_keeps_no_other_from_being_followed_and_is_asked_for_less_often(
    tmp_path: Path, put: Put
) -> None:
    shelf = Shelf(tmp_path)
    for name in ("a", "b"):
        put(tmp_path / name, 1)

    async def work() -> None:
        predictor = Predictor()
        repository = PredictorRepository(predictor, shelf, QUICK)
        await repository.start()
        watcher = Watcher(repository, 3600)
        shelf.away = {"a"}
        put(tmp_path / "a", 2)
        put(tmp_path / "b", 2)
        a, b = (predictor.loaded(name).digest for name in ("a", "b"))
        shelf.asked.clear()
        for _ in range(12):
            await watcher.poll()
        assert (predictor.loaded("a").digest == a, predictor.loaded("b").digest == b) == (True, False)
        # At the first look, then after one, then after three.
        assert shelf.asked.count("a") == 3
        assert "cannot be read" in {entry["name"]: entry["reason"] for entry in await repository.index()}["a"]
        shelf.away = set()
        for _ in range(10):
            await watcher.poll()
        assert predictor.loaded("a").digest != a
        await predictor.close()

    asyncio.run(work())


def test_a_change_counts_once_two_looks_saw_the_same() -> None:
    settling = Settling()
    held = {"a": {None: "1"}, "b": {"1": "x"}}
    assert settling.observe({"a": {None: "2"}, "b": {"1": "x"}}, held) == ([], [])
    assert settling.observe({"a": {None: "3"}, "b": {"1": "x"}}, held) == ([], [])
    assert settling.observe({"a": {None: "3"}, "b": {"1": "x"}, "c": {None: ""}}, held) == (["a"], [])
    # Unreadable files never settle; a model is gone after two looks without it; nothing at all is a volume that came off.
    assert settling.observe({"b": {"1": "x"}, "c": {None: ""}}, held) == ([], [])
    assert settling.observe({"b": {"1": "x"}}, held) == ([], ["a"])
    assert settling.observe({}, held) == ([], [])
    assert settling.observe({}, held) == ([], [])


def test_the_watcher_follows_what_settles_and_forgives_what_is_broken(
    tmp_path: Path, put: Put, held_by: HeldBy, ask: Ask
) -> None:
    for place in ("a/1", "a/2", "b"):
        put(tmp_path / place, 1)

    async def work(repository: PredictorRepository, predictor: Predictor, loads: Any) -> None:
        watcher = Watcher(repository, 3600)
        await watcher.poll()
        await watcher.poll()
        assert len(loads.places) == 3
        loads.places.clear()
        # One version changes, one model comes, one goes: only what is new is loaded.
        put(tmp_path / "a" / "2", 5)
        put(tmp_path / "c", 6)
        shutil.rmtree(tmp_path / "b")
        before = predictor.loaded("a", "1").digest
        await watcher.poll()
        assert loads.places == []
        await watcher.poll()
        assert sorted(loads.places) == ["a/2", "c/None"]
        assert sorted(predictor.models()) == ["a", "c"]
        assert predictor.loaded("a", "1").digest == before
        # Broken files are tried once, not at every look, and again when they change.
        loads.places.clear()
        (tmp_path / "c" / "model.onnx").write_bytes(b"half of a cop")
        for _ in range(4):
            await watcher.poll()
        assert loads.places == ["c/None"]
        assert (await ask(predictor, "c")).model == "c"
        put(tmp_path / "c", 8)
        for _ in range(3):
            await watcher.poll()
        assert loads.places == ["c/None"] * 2
        # A removed version leaves, its mate stays.
        shutil.rmtree(tmp_path / "a" / "2")
        for _ in range(2):
            await watcher.poll()
        assert [entry["version"] for entry in predictor.index() if entry["name"] == "a"] == ["1"]
        # The volume comes off: everything stays.
        move(tmp_path, tmp_path.with_suffix(".away"))
        for _ in range(3):
            await watcher.poll()
        move(tmp_path.with_suffix(".away"), tmp_path)
        assert sorted(predictor.models()) == ["a", "c"]

    held_by(tmp_path, work)


def test_a_swap_of_kubernetes_data_link_is_a_change(tmp_path: Path, put: Put, held_by: HeldBy, ask: Ask) -> None:
    """A mounted ConfigMap: visible names are links into `..data`, itself a link that the kubelet swaps in one step."""
    for number in (1, 2):
        put(tmp_path / f"..2026_{number}", number)
    (tmp_path / "..data").symlink_to("..2026_1")
    (tmp_path / "model.onnx").symlink_to("..data/model.onnx")

    def swap() -> None:
        (tmp_path / "..data_tmp").symlink_to("..2026_2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        shutil.rmtree(tmp_path / "..2026_1")

    async def work(repository: PredictorRepository, predictor: Predictor, loads: Any) -> None:
        watcher, before = Watcher(repository, 3600), (await ask(predictor)).bundle
        await watcher.poll()
        await watcher.poll()
        assert len(loads.places) == 1
        swap()
        await watcher.poll()
        await watcher.poll()
        assert len(loads.places) == 2
        assert (await ask(predictor)).bundle != before

    held_by(tmp_path, work)


def test_a_fingerprint_follows_names_sizes_times_and_links(tmp_path: Path, put: Put) -> None:
    put(tmp_path / "d", 1)
    seen = {fingerprint(tmp_path)}

    def changed() -> bool:
        before = len(seen)
        seen.add(fingerprint(tmp_path))
        return len(seen) > before

    assert not changed()
    put(tmp_path / "d", 1)
    assert changed()  # another file of the same content
    (tmp_path / "d" / "weights").write_bytes(b"1")
    assert changed()
    (tmp_path / "d" / "weights").unlink()
    (tmp_path / "d" / "gone").symlink_to("nowhere")
    assert fingerprint(tmp_path) == ""
    assert fingerprint(tmp_path / "none") == ""

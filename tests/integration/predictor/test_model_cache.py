"""The folder where fetched models are kept: shared by processes, continued after a crash, and emptied of what nobody wants."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.errors import InvalidInput, PenstockError
from penstock.testing import models
from penstock.testing.bundles import write_bundle
from penstock.testing.file_server import FileServer
from penstock_predictor.store.cache import ModelCache
from penstock_predictor.store.object_source import ObjectSource

# Large enough to come in several chunks and to be cut in the middle.
LARGE = models.mlp((3, 600, 600, 1))

# What the fixtures of these names give.
Open = Callable[[str, Path], ObjectSource]
Read = Callable[[ObjectSource], dict[str, bytes]]


def test_what_an_earlier_process_left_is_continued(tmp_path: Path, opened: Open, read: Read) -> None:
    digest = write_bundle(tmp_path / "www" / "b", LARGE, None).removeprefix("sha256:")
    partial = tmp_path / "cache" / f"{digest}.partial"
    partial.mkdir(parents=True)
    kept = len(LARGE) // 2
    (partial / "model.onnx.part").write_bytes(LARGE[:kept])
    with FileServer(tmp_path / "www", ranges=True) as web:
        assert read(opened(f"{web.url}/b", tmp_path / "cache"))["model.onnx"] == LARGE
        assert web.asked("model.onnx") == [f"bytes={kept}-{len(LARGE) - 1}"]


@pytest.mark.parametrize("left", [b"\0" * 1000, LARGE + b"more"])
def test_what_was_left_of_another_file_is_thrown_away(tmp_path: Path, left: bytes, opened: Open, read: Read) -> None:
    digest = write_bundle(tmp_path / "www" / "b", LARGE, None).removeprefix("sha256:")
    partial = tmp_path / "cache" / f"{digest}.partial"
    partial.mkdir(parents=True)
    (partial / "model.onnx.part").write_bytes(left)
    with FileServer(tmp_path / "www", ranges=True) as web:
        assert read(opened(f"{web.url}/b", tmp_path / "cache"))["model.onnx"] == LARGE


def test_two_processes_fetch_a_model_once(tmp_path: Path, opened: Open, read: Read) -> None:
    write_bundle(tmp_path / "www" / "b", LARGE, None)
    errors: list[PenstockError] = []

    def bring() -> None:
        try:
            read(opened(f"{web.url}/b", tmp_path / "cache"))
        except PenstockError as error:
            errors.append(error)

    with FileServer(tmp_path / "www", ranges=True) as web:
        threads = [threading.Thread(target=bring) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert errors == []
        assert len(web.asked("model.onnx")) == 1


def test_the_cache_forgets_what_nobody_wants(tmp_path: Path, opened: Open) -> None:
    write_bundle(tmp_path / "www" / "b", models.mlp((3, 4, 1)), None)
    with FileServer(tmp_path / "www", ranges=True) as web:
        source = opened(f"{web.url}/b", tmp_path / "cache")
        (old,) = source.places()
        shutil.rmtree(tmp_path / "www" / "b")
        write_bundle(tmp_path / "www" / "b", models.mlp((3, 4, 1), seed=3), None)
        (new,) = source.places()
        assert old.directory.is_dir()
        os.utime(old.directory, (0, 0))
        os.utime(new.directory, (0, 0))
        source.places()
        assert (old.directory.exists(), new.directory.exists()) == (False, True)


def test_what_another_process_fetches_is_not_forgotten_however_long_it_takes(tmp_path: Path) -> None:
    partial, begun, go_on = tmp_path / "key.partial", threading.Event(), threading.Event()

    def fetch(into: Path) -> None:
        (into / "model.onnx.part").write_bytes(b"half")
        os.utime(into, (0, 0))
        begun.set()
        assert go_on.wait(30)

    fetching = threading.Thread(target=ModelCache(tmp_path).hold, args=("key", fetch))
    fetching.start()
    assert begun.wait(30)
    ModelCache(tmp_path).discard(())
    assert (partial / "model.onnx.part").exists()
    go_on.set()
    fetching.join(30)
    os.utime(tmp_path / "key", (0, 0))
    ModelCache(tmp_path).discard(())
    assert not (tmp_path / "key").exists()


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, opened: Open) -> None:
    write_bundle(tmp_path / "www" / "b", models.mlp((3, 4, 1)), None)
    (tmp_path / "file").write_bytes(b"")
    with FileServer(tmp_path / "www", ranges=True) as web, pytest.raises(InvalidInput, match="cannot be written"):
        opened(f"{web.url}/b", tmp_path / "file" / "cache").places()

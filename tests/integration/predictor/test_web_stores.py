"""Models from web servers, with ranges and without: downloads that break off, files that change, servers that are away."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from penstock.errors import Conflict, InvalidInput, NotFound, UpstreamUnavailable
from penstock.testing import models
from penstock.testing.bundles import write_bundle
from penstock.testing.file_server import FileServer
from penstock_predictor.loading import load_model
from penstock_predictor.settings import ModelSettings
from penstock_predictor.source import open_source
from penstock_predictor.store.object_source import ObjectSource

QUICK = ModelSettings(max_rows=2, profile_s=0.0)
# Large enough to come in several chunks and to be cut in the middle.
LARGE = models.mlp((3, 600, 600, 1))

# What the fixtures of these names give.
Open = Callable[[str, Path], ObjectSource]
Read = Callable[[ObjectSource], dict[str, bytes]]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_bundle_from_a_web_server(tmp_path: Path, ranges: bool, opened: Open, read: Read) -> None:
    write_bundle(tmp_path / "www" / "b", LARGE, None)
    with FileServer(tmp_path / "www", ranges=ranges) as web:
        found = read(opened(f"{web.url}/b", tmp_path / "cache"))
        assert found == {path.name: path.read_bytes() for path in (tmp_path / "www" / "b").iterdir()}
        assert any(asked for asked in web.asked("model.onnx"))


def test_an_address_without_a_model_says_what_was_looked_for(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "www").mkdir()
    with FileServer(tmp_path / "www", ranges=True) as web:
        with pytest.raises(NotFound, match=r"/b holds neither bundle\.yaml nor model\.onnx"):
            opened(f"{web.url}/b", tmp_path / "cache").places()
        with pytest.raises(NotFound, match=r"/b/net\.onnx is not there"):
            opened(f"{web.url}/b/net.onnx", tmp_path / "cache").places()


@pytest.mark.parametrize("name", ["b/net.onnx", "b"])
def test_a_plain_model_from_a_web_server_with_its_weights(tmp_path: Path, name: str, opened: Open) -> None:
    (tmp_path / "www" / "b").mkdir(parents=True)
    path = models.save_external(tmp_path / "www" / "b")
    if name.endswith(".onnx"):
        path.rename(path.with_name("net.onnx"))
    with FileServer(tmp_path / "www", ranges=True) as web:
        (place,) = opened(f"{web.url}/{name}", tmp_path / "cache").places()
        assert load_model(place, QUICK).session.inputs


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_is_resumed_or_begun_again(tmp_path: Path, ranges: bool, opened: Open, read: Read) -> None:
    write_bundle(tmp_path / "www" / "b", LARGE, None)
    with FileServer(tmp_path / "www", ranges=ranges) as web:
        web.cut, web.cuts = len(LARGE) * 2 // 3, 1
        found = read(opened(f"{web.url}/b", tmp_path / "cache"))
        assert found["model.onnx"] == LARGE
        assert web.cuts == 0


@pytest.mark.parametrize("ranges", [True, False])
def test_a_plain_model_that_is_replaced_while_it_is_fetched_is_never_half_of_each(
    tmp_path: Path, ranges: bool, opened: Open, read: Read
) -> None:
    (tmp_path / "www").mkdir()
    file = tmp_path / "www" / "model.onnx"
    file.write_bytes(LARGE)
    other = bytes(LARGE[:-1]) + bytes([LARGE[-1] ^ 1])
    with FileServer(tmp_path / "www", ranges=ranges) as web:
        web.cut, web.cuts = len(LARGE) // 2, 1
        web.on_cut = lambda: file.write_bytes(other)
        source = opened(web.url, tmp_path / "cache")
        with pytest.raises(Conflict, match="replaced while it was fetched"):
            source.places()
        assert read(source)["model.onnx"] == other


def test_a_changed_byte_is_found_by_the_files_name(tmp_path: Path, opened: Open, read: Read) -> None:
    write_bundle(tmp_path / "www" / "b", LARGE, None)
    (tmp_path / "www" / "b" / "model.onnx").write_bytes(LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
    with FileServer(tmp_path / "www", ranges=True) as web:
        source = opened(f"{web.url}/b", tmp_path / "cache")
        with pytest.raises(InvalidInput, match=r"model\.onnx: has digest sha256:\w+, bundle\.yaml lists"):
            source.places()
        # Once it is mended the same source brings it.
        (tmp_path / "www" / "b" / "model.onnx").write_bytes(LARGE)
        assert read(source)["model.onnx"] == LARGE


def test_a_server_that_is_away_is_unavailable(tmp_path: Path, opened: Open) -> None:
    with FileServer(tmp_path, ranges=True) as web:
        url = web.url
    source = opened(f"{url}/b", tmp_path / "cache")
    with pytest.raises(UpstreamUnavailable, match="cannot be read"):
        source.places()


def test_float_models_answer_from_a_store_as_from_a_directory(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "www" / "b").mkdir(parents=True)
    (tmp_path / "www" / "b" / "model.onnx").write_bytes(LARGE)
    with FileServer(tmp_path / "www", ranges=True) as web:
        (place,) = opened(f"{web.url}/b/model.onnx", tmp_path / "cache").places()
        (local,) = open_source(str(tmp_path / "www" / "b"), "m", tmp_path).places()
        x = {"x": np.ones((1, 3), np.float32)}
        (one,), (other,) = (load_model(each, QUICK).session.run(x) for each in (place, local))
        assert one.tolist() == other.tolist()

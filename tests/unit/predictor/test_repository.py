"""Every layout of a model directory."""

import sys
from pathlib import Path

import pytest

from penstock.errors import InvalidInput, NotFound, UpstreamUnavailable
from penstock_predictor.repository import find, model_file, version_order
from penstock_predictor.source import DirectorySource, open_source
from penstock_predictor.store.remote import RemoteStore


def touch(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()


def found(directory: Path) -> list[tuple[str, str | None, bool]]:
    return [(place.model, place.version, place.is_bundle) for place in find(directory, "m")]


def test_a_bundle(tmp_path: Path) -> None:
    touch(tmp_path, "bundle.yaml", "model.onnx", "other/model.onnx")
    assert found(tmp_path) == [("m", None, True)]


@pytest.mark.parametrize("name", ["model.onnx", "resnet.onnx"])
def test_a_plain_model(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    assert found(tmp_path) == [("m", None, False)]
    assert model_file(tmp_path) == tmp_path / name


def test_two_models_of_other_names_are_no_plain_model(tmp_path: Path) -> None:
    touch(tmp_path, "a.onnx", "b.onnx")
    with pytest.raises(InvalidInput, match="holds neither"):
        find(tmp_path, "m")


def test_versions_of_the_one_model(tmp_path: Path) -> None:
    touch(tmp_path, "10/model.onnx", "9/bundle.yaml", "..data/model.onnx", "lost+found/model.onnx")
    assert found(tmp_path) == [("m", "9", True), ("m", "10", False)]


def test_a_repository_of_names_and_versions(tmp_path: Path) -> None:
    touch(tmp_path, "b/bundle.yaml", "a/2/model.onnx", "a/1/bundle.yaml", "notes/readme.txt", "file.txt")
    assert found(tmp_path) == [("a", "1", True), ("a", "2", False), ("b", None, True)]


def test_digits_that_are_no_numbers_are_names(tmp_path: Path) -> None:
    touch(tmp_path, "²/model.onnx", "x/³/model.onnx")
    assert found(tmp_path) == [("x", "³", False), ("²", None, False)]


def test_nothing_to_serve(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="model_dir"):
        find(tmp_path, "m")
    with pytest.raises(NotFound, match="not a directory"):
        find(tmp_path / "none", "m")


def test_versions_are_ordered_by_value() -> None:
    assert sorted(["10", "9", "1.2", "1.10", "beta"], key=version_order) == ["beta", "1.2", "1.10", "9", "10"]


@pytest.mark.parametrize("address", ["/srv/models", "models", "C:\\models"])
def test_a_path_is_a_directory(address: str, tmp_path: Path) -> None:
    assert isinstance(open_source(address, "m", tmp_path), DirectorySource)


def test_a_store_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(InvalidInput, match=r"install penstock-predictor\[stores\]"):
        open_source("s3://bucket/x", "m", tmp_path)
    with pytest.raises(InvalidInput, match=r"expected a path or one of s3://, .* got ftp://"):
        open_source("ftp://host/x", "m", tmp_path)


def test_addresses_are_shown_without_their_secrets(tmp_path: Path) -> None:
    store = RemoteStore("http://user:word@127.0.0.1:1/models?signature=secret", retries=0)
    assert store.address == "http://127.0.0.1:1/models"
    with pytest.raises(UpstreamUnavailable) as caught:
        store.read("bundle.yaml", 100)
    assert "127.0.0.1:1/models/bundle.yaml cannot be read" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("word", "signature", "secret"))

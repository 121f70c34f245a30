"""Whatever is changed in a bundle, the file is named; whatever lies outside of one is never opened."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from penstock.bundle.files import inside
from penstock.bundle.manifest_text import MANIFEST
from penstock.bundle.plain import plain_manifest
from penstock.bundle.reading import Bundle, bundle_from_files, open_bundle
from penstock.errors import InvalidInput, NotFound, PenstockError, TooLarge
from penstock.features.document import read_document, write_document
from penstock.onnx import load

Build = Callable[..., Path]


@pytest.fixture
def built(build: Build, workshop: Path) -> Path:
    """A bundle with every kind of file, external weights and the fused graph among them."""
    model = onnx.load(workshop / "model.onnx")
    onnx.save(model, workshop / "big.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return build("--fuse", model="big.onnx")


def test_a_bundle_opens_and_serves_what_was_verified(built: Path) -> None:
    bundle = open_bundle(built)
    assert bundle.digest == f"sha256:{hashlib.sha256((built / MANIFEST).read_bytes()).hexdigest()}"
    assert bundle.label == f"flights@{bundle.digest}"
    assert set(bundle.manifest.files) == {
        "model.onnx", "weights.bin", "fused.onnx", "features.yaml", "encoder.onnx", "golden.jsonl", "profile.json"
    }  # fmt: skip
    assert set(bundle.small_files()) == {MANIFEST, "features.yaml", "encoder.onnx", "golden.jsonl", "profile.json"}
    before = bundle.read("features.yaml")
    (built / "features.yaml").write_text("changed later")
    assert bundle.read("features.yaml") == before
    assert bundle.read("model.onnx") == (built / "model.onnx").read_bytes()
    (built / "model.onnx").write_bytes(b"changed later")
    with pytest.raises(InvalidInput, match=r"model\.onnx: has 13 bytes"):
        bundle.read("model.onnx")
    for name in ("../draft.yaml", "nothing", "/etc/passwd"):
        with pytest.raises(NotFound, match="has no file"):
            bundle.read(name)


def test_a_changed_byte_anywhere_is_refused_with_the_name_of_the_file(built: Path) -> None:
    for name in open_bundle(built).manifest.files:
        path = built / name
        good = path.read_bytes()
        for position in {0, len(good) // 2, len(good) - 1}:
            path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
            with pytest.raises(InvalidInput, match="its content was changed") as caught:
                open_bundle(built)
            assert caught.value.field == name
        for content in (good[:-1], good + b"\n", b""):
            path.write_bytes(content)
            with pytest.raises(InvalidInput, match="was changed or cut off") as caught:
                open_bundle(built)
            assert caught.value.field == name
        path.unlink()
        with pytest.raises(InvalidInput, match="is missing from the bundle") as caught:
            open_bundle(built)
        assert caught.value.field == name
        path.mkdir()
        with pytest.raises(InvalidInput, match="is not a file"):
            open_bundle(built)
        path.rmdir()
        path.write_bytes(good)
    open_bundle(built)


def test_every_byte_of_the_manifest_counts(built: Path) -> None:
    path = built / MANIFEST
    good, digest = path.read_bytes(), open_bundle(built).digest
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        try:
            changed = open_bundle(built)
        except PenstockError:
            continue
        assert changed.digest != digest


def opened_files(*bundles: Path) -> list[dict[str, Any]]:
    """Each of these opened as a bundle, in a process of its own: `field` and `message` of what was wrong, and the real paths of
    all files that Python `opened` for it, root's rights or not."""
    command = [sys.executable, str(Path(__file__).with_name("opening.py")), *map(str, bundles)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(bundles)
    return found


def test_a_link_out_of_the_bundle_is_refused_unopened(built: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes((built / "features.yaml").read_bytes())
    names = ("features.yaml", "model.onnx", "weights.bin", "fused.onnx", "golden.jsonl", MANIFEST)
    bundles = [Path(shutil.copytree(built, tmp_path / f"linked-{name}")) for name in names]
    for name, bundle in zip(names, bundles, strict=True):
        (bundle / name).unlink()
        (bundle / name).symlink_to(built / MANIFEST if name == MANIFEST else secret)
    whole, *linked = opened_files(built, *bundles)
    assert whole["message"] == ""
    assert {str(built / name) for name in names} <= set(whole["opened"])
    for name, bundle, found in zip(names, bundles, linked, strict=True):
        assert found["field"] == name
        assert "link that leads out" in found["message"]
        assert str(secret) not in found["opened"]
        assert str(built / MANIFEST) not in found["opened"]
        assert (str(bundle / MANIFEST) in found["opened"]) == (name != MANIFEST)


def test_links_inside_are_followed_as_volumes_of_kubernetes_have_them(built: Path, tmp_path: Path) -> None:
    data = built / "..2026"
    data.mkdir()
    for path in [path for path in built.iterdir() if path.is_file()]:
        path.rename(data / path.name)
        path.symlink_to(Path("..data") / path.name)
    (built / "..data").symlink_to("..2026")
    open_bundle(built)
    whole = tmp_path / "mounted"
    whole.symlink_to(built)
    open_bundle(whole)


def test_weights_that_the_manifest_does_not_list_are_refused(built: Path) -> None:
    document = read_document((built / MANIFEST).read_bytes(), MANIFEST)
    del document["files"]["weights.bin"]
    del document["model"]["external"]
    (built / MANIFEST).write_text(write_document(document))
    with pytest.raises(InvalidInput, match=r"weights\.bin: is weights of model\.onnx, and bundle\.yaml does not list it"):
        open_bundle(built)


def test_a_manifest_that_is_huge_or_gone_is_refused(built: Path, tmp_path: Path) -> None:
    with (built / MANIFEST).open("ab") as file:
        file.truncate(17 << 20)
    with pytest.raises(TooLarge, match=r"bundle\.yaml: .* the limit is"):
        open_bundle(built)
    (built / MANIFEST).unlink()
    with pytest.raises(InvalidInput, match=r"bundle\.yaml: cannot be read: No such file"):
        open_bundle(built)
    with pytest.raises(InvalidInput, match="expected the directory of a bundle"):
        open_bundle(tmp_path / "nothing")


def fetch(directory: Path, **changed: bytes) -> tuple[list[str], Callable[[str], Any]]:
    asked: list[str] = []

    async def get(name: str) -> bytes:
        asked.append(name)
        return changed.get(name.replace(".", "_"), (directory / name).read_bytes())

    return asked, get


def from_files(get: Callable[[str], Any], digest: str | None = None) -> Bundle:
    return asyncio.run(bundle_from_files(get, digest))


def test_a_fetched_bundle_is_the_same_without_its_model(built: Path) -> None:
    local = open_bundle(built)
    asked, get = fetch(built)
    bundle = from_files(get, local.digest)
    assert (bundle.digest, bundle.manifest, bundle.features) == (local.digest, local.manifest, local.features)
    assert bundle.encoder == local.encoder
    assert sorted(asked) == sorted(local.small_files())
    assert from_files(fetch(built)[1]).digest == local.digest
    for wanted in (lambda: bundle.model_path, lambda: bundle.read("model.onnx")):
        with pytest.raises(NotFound):
            wanted()


def test_a_fetched_bundle_that_is_not_the_one_asked_for_is_refused(built: Path) -> None:
    with pytest.raises(InvalidInput, match="was asked for"):
        from_files(fetch(built)[1], "sha256:" + "0" * 64)
    for name in ("encoder_onnx", "features_yaml", "golden_jsonl"):
        with pytest.raises(InvalidInput, match="was changed") as caught:
            from_files(fetch(built, **{name: b"other"})[1])
        assert caught.value.field == name.replace("_", ".")


def test_a_plain_model_is_the_same_bundle_under_the_same_name(workshop: Path, tmp_path: Path) -> None:
    session = load(workshop / "model.onnx")
    first = plain_manifest("iris", workshop / "model.onnx", session.inputs, session.outputs)
    assert first == plain_manifest("iris", workshop / "model.onnx", session.inputs, session.outputs)
    manifest, text = first
    (tmp_path / "plain").mkdir()
    os.link(workshop / "model.onnx", tmp_path / "plain/model.onnx")
    (tmp_path / "plain" / MANIFEST).write_bytes(text)
    assert open_bundle(tmp_path / "plain").manifest == manifest
    assert plain_manifest("my model!", workshop / "model.onnx", session.inputs, session.outputs)[0].name == "my-model"


def test_links_that_go_round_and_names_too_long_are_refused(built: Path) -> None:
    (built / "golden.jsonl").unlink()
    (built / "golden.jsonl").symlink_to("golden.jsonl")
    with pytest.raises(InvalidInput, match=r"golden\.jsonl: is a link to itself|golden\.jsonl: is missing"):
        open_bundle(built)
    with pytest.raises(InvalidInput, match="x: cannot be read: File name too long"):
        inside(built, "x" * 300)


def test_a_manifest_that_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(InvalidInput, match=r"bundle\.yaml: is not a file"):
        open_bundle(tmp_path)

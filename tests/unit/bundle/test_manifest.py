"""bundle.yaml: what is written reads back, mistakes name their field, and no name leads out of the bundle."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bundle.manifest import FileEntry, Manifest, ModelSignature, PostprocessSpec
from penstock.bundle.manifest_text import check_file_name, read_manifest, write_manifest
from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput
from penstock.features.document import read_document, write_document

ENTRY = FileEntry("0" * 64, 12)
MANIFEST = Manifest(
    "flights",
    "7",
    ModelSignature(
        "model.onnx", (TensorMetadata("x", "FP32", (-1, 37)),), (TensorMetadata("p", "FP32", (-1, 2)),), True, ("w.bin",)
    ),
    PostprocessSpec("classification", "p", ("on time", "late"), 0.35, "softmax"),
    {"model.onnx": ENTRY, "w.bin": ENTRY, "features.yaml": ENTRY, "encoder.onnx": ENTRY, "fused.onnx": ENTRY},
    {"owner": "ops@example.com", "evaluation": {"auc": 0.74}},
    fused="fused.onnx",
)


def test_what_is_written_reads_back() -> None:
    assert read_manifest(write_manifest(MANIFEST)) == MANIFEST
    assert write_manifest(read_manifest(write_manifest(MANIFEST))) == write_manifest(MANIFEST)
    plain = replace(
        MANIFEST, files={"model.onnx": ENTRY}, fused=None, card={}, postprocess=PostprocessSpec("raw"),
        model=replace(MANIFEST.model, external=(), rows_independent=None),
    )  # fmt: skip
    assert read_manifest(write_manifest(plain)) == plain


def test_files_are_written_in_order_whatever_the_order_they_came_in() -> None:
    turned = replace(MANIFEST, files=dict(reversed(MANIFEST.files.items())))
    assert write_manifest(turned) == write_manifest(MANIFEST)


def test_small_files_are_all_but_the_models() -> None:
    assert MANIFEST.small_files() == ("features.yaml", "encoder.onnx")


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(names, names, st.lists(names, max_size=4, unique=True), st.dictionaries(st.text(min_size=1), st.text(), max_size=3))
def test_any_manifest_reads_back(name: str, version: str, labels: list[str], card: dict[str, str]) -> None:
    manifest = replace(MANIFEST, name=name, version=version, postprocess=PostprocessSpec("raw", None, tuple(labels)), card=card)
    assert read_manifest(write_manifest(manifest)) == manifest


def changed(path: str, value: Any) -> bytes:
    document = read_document(write_manifest(MANIFEST), "bundle.yaml")
    *outer, last = path.split("/")
    at: Any = document
    for name in outer:
        at = at[int(name) if isinstance(at, list) else name]
    if value is ...:
        del at[last]
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return write_document(document).encode()


@pytest.mark.parametrize(
    ("path", "value", "field", "said"),
    [
        ("formatVersion", 2, "formatVersion", "use a newer Penstock"),
        ("name", "a b", "name", "letters, digits"),
        ("name", ..., "name", "is required"),
        ("version", 7, "version", "expected a name, got 7"),
        ("version", "../7", "version", "letters, digits"),
        ("extra", 1, "extra", "unknown field"),
        ("model/file", "other.onnx", "model.file", "not listed under files"),
        ("model/external/0", "v.bin", "model.external", "not listed under files"),
        ("model/inputs", [], "model.inputs", "at least one tensor"),
        ("model/inputs/0/datatype", "FLOAT", "model.inputs[0].datatype", "expected BOOL, UINT8"),
        ("model/inputs/0/shape", ["N"], "model.inputs[0].shape", "expected lengths of axes"),
        ("model/rowsIndependent", "yes", "model.rowsIndependent", "expected true or false"),
        ("postprocess/kind", "guess", "postprocess.kind", "expected classification"),
        ("postprocess/labels", ["a", "a"], "postprocess.labels[1]", "given twice"),
        ("postprocess/labels", ["a", 1], "postprocess.labels[1]", "put it in quotes"),
        ("postprocess/threshold", "0.3", "postprocess.threshold", "expected a number"),
        ("files/w.bin/sha256", "00", "files.w.bin.sha256", "64 hexadecimal digits"),
        ("files/w.bin/bytes", -1, "files.w.bin.bytes", "from 0"),
        ("files/encoder.onnx", ..., "files", "together, or neither"),
    ],
)
def test_every_mistake_names_its_field(path: str, value: Any, field: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_manifest(changed(path, value))
    assert caught.value.field == field
    assert said in caught.value.message


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a\\b",
        "C:\\x",
        "C:x",
        "..",
        ".",
        "",
        "a//b",
        "./a",
        "a/",
        "a\x00b",
        "a\nb",
        "bundle.yaml",
        "\\\\host\\x",
    ],
)
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="expected the name of a file inside the bundle"):
        check_file_name(name, "files")
    document = read_document(write_manifest(MANIFEST), "bundle.yaml")
    document["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    with pytest.raises(InvalidInput, match="expected the name of a file inside the bundle"):
        read_manifest(write_document(document).encode())


def test_names_in_folders_are_fine() -> None:
    check_file_name("weights/part-1.bin", "files")

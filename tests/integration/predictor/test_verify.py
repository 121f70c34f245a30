"""`penstock-predictor verify` as the operator's Job runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.bundle.files import digest_bytes
from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.bundle.manifest_text import write_manifest
from penstock.onnx import load
from penstock.testing import models
from penstock_predictor.verification import verify


def write_bundle(directory: Path, model: bytes, golden: str | None = None, **signature: Any) -> Path:
    session = load(model)
    files = {"model.onnx": model} | ({"golden.jsonl": golden.encode()} if golden is not None else {})
    described = ModelSignature("model.onnx", session.inputs, session.outputs, **{"rows_independent": True, **signature})
    manifest = Manifest("b", "7", described, PostprocessSpec("raw"), {name: digest_bytes(data) for name, data in files.items()})
    directory.mkdir(exist_ok=True)
    for name, data in {**files, "bundle.yaml": write_manifest(manifest)}.items():
        (directory / name).write_bytes(data)
    return directory


def golden(model: bytes, *, off: float = 0.0) -> str:
    rows = np.random.default_rng(2).normal(size=(3, 3)).astype(np.float32)
    session = load(model)
    lines = [
        {"tensors": {"x": row.tolist()}, "outputs": {"y": (session.run({"x": row[None]})[0][0] + off).tolist()}} for row in rows
    ]
    return "\n".join(map(json.dumps, lines))


MLP = models.mlp((3, 8, 2))


def run(directory: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "penstock_predictor", "verify", str(directory), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


def test_a_good_bundle_passes(tmp_path: Path) -> None:
    code, text = run(write_bundle(tmp_path / "b", MLP, golden(MLP)))
    assert code == 0, text
    assert "ok    golden: 3 examples" in text
    assert "ok    rows: free" in text


def test_a_changed_byte_fails_by_the_files_name(tmp_path: Path) -> None:
    directory = write_bundle(tmp_path / "b", MLP)
    data = bytearray((directory / "model.onnx").read_bytes())
    data[-1] ^= 1
    (directory / "model.onnx").write_bytes(data)
    code, text = run(directory, "--json")
    assert code == 1
    assert "model.onnx" in json.loads(text)["checks"][-1]["detail"]


@pytest.mark.parametrize(
    ("model", "examples", "signature", "check", "detail"),
    [
        (MLP, golden(MLP, off=0.5), {}, "golden", "line 1: output y: expected"),
        (MLP, '{"tensors": {"x": [1, 2]}, "outputs": {}}', {}, "golden", "line 1: x.shape: expected [-1, 3], got [1, 2]"),
        (MLP, "{", {}, "load", "golden.jsonl line 1: not JSON"),
        (models.centred(), None, {}, "rows", "rows interact"),
        (MLP, None, {"outputs": load(models.several()).outputs}, "load", "model.outputs.sum"),
        (models.several(), None, {"inputs": load(models.several()).inputs[:1]}, "load", "lacks b"),
    ],
)
def test_what_is_not_as_declared_fails(
    tmp_path: Path, model: bytes, examples: str | None, signature: dict[str, Any], check: str, detail: str
) -> None:
    described = {key: value for key, value in signature.items() if key not in ("inputs", "outputs")}
    directory = tmp_path / "b"
    write_bundle(directory, model, examples, **described)
    if signature:
        session = load(model)
        said = ModelSignature(
            "model.onnx", signature.get("inputs", session.inputs), signature.get("outputs", session.outputs), True
        )
        manifest = Manifest("b", "7", said, PostprocessSpec("raw"), {"model.onnx": digest_bytes(model)})
        (directory / "bundle.yaml").write_bytes(write_manifest(manifest))
    last = list(verify(directory))[-1]
    assert (last.name, last.ok) == (check, False)
    assert detail in last.detail


def test_a_directory_with_nothing_fails(tmp_path: Path) -> None:
    (only,) = verify(tmp_path)
    assert (only.name, only.ok) == ("layout", False)


def test_rows_that_interact_are_fine_where_the_bundle_says_so(tmp_path: Path) -> None:
    assert all(check.ok for check in verify(write_bundle(tmp_path / "b", models.centred(), rows_independent=False)))


def report_of(directory: Path, *options: str) -> tuple[int, dict[str, Any]]:
    where = directory.parent / "report.json"
    code, text = run(directory, "--report", str(where), *options)
    assert where.stat().st_size <= 4096, text
    found: dict[str, Any] = json.loads(where.read_text())
    return code, found


def bundle_digest(directory: Path) -> str:
    return f"sha256:{digest_bytes((directory / 'bundle.yaml').read_bytes()).sha256}"


def test_a_good_bundle_is_reported_with_what_it_costs(tmp_path: Path) -> None:
    directory = write_bundle(tmp_path / "b", MLP, golden(MLP))
    code, report = report_of(directory, "--digest", bundle_digest(directory))
    assert code == 0
    assert report["ok"] is True
    assert report["digest"] == bundle_digest(directory)
    assert report["model_bytes"] > len(MLP)
    assert report["peak_memory_bytes"] > 2**20
    assert report["profile"][0]["rows"] == 1


def test_another_digest_than_asked_for_is_reported_before_anything_is_loaded(tmp_path: Path) -> None:
    directory = write_bundle(tmp_path / "b", MLP, golden(MLP))
    code, report = report_of(directory, "--digest", "sha256:" + "0" * 64)
    assert code == 1
    assert (report["ok"], report["kind"], report["field"]) == (False, "digest", "digest")
    assert bundle_digest(directory) in report["message"]
    assert "model_bytes" not in report


@pytest.mark.parametrize("kind", ["golden", "load", "layout"])
def test_what_fails_is_reported_by_name(tmp_path: Path, kind: str) -> None:
    directory = write_bundle(tmp_path / "b", MLP, golden(MLP, off=0.5 if kind == "golden" else 0.0))
    if kind == "load":
        (directory / "model.onnx").write_bytes(b"no model")
    if kind == "layout":
        directory = tmp_path / "none"
    code, report = report_of(directory)
    assert code == 1
    assert report["kind"] == kind
    assert report["message"]


def test_a_plain_models_digest_has_the_name_in_it_that_it_is_served_under(tmp_path: Path) -> None:
    directory = tmp_path / "plain"
    directory.mkdir()
    (directory / "model.onnx").write_bytes(MLP)
    _, one = report_of(directory, "--model_name", "flights-7")
    assert one["ok"] is True
    code, _ = report_of(directory, "--model_name", "flights-7", "--digest", one["digest"])
    assert code == 0
    code, other = report_of(directory, "--model_name", "flights-8", "--digest", one["digest"])
    assert (code, other["kind"]) == (1, "digest")


def test_a_store_that_cannot_be_reached_is_reported(tmp_path: Path) -> None:
    where = tmp_path / "report.json"
    command = [sys.executable, "-m", "penstock_predictor", "verify", "https://127.0.0.1:9/bundle", "--report", str(where)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 1, done.stdout
    assert json.loads(where.read_text())["kind"] == "fetch"

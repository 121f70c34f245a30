"""`penstock bundle verify`: golden rows run, and whatever differs is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from penstock.bundle.golden import GOLDEN
from penstock.bundle.manifest_text import MANIFEST
from penstock.bundle.reading import open_bundle
from penstock.features.document import read_document, write_document

Command = Callable[..., Result]
Fails = Callable[..., None]
Build = Callable[..., Path]


def test_verify_runs_the_golden_rows(build: Build, command: Command) -> None:
    bundle = build("--golden_rows", "3")
    assert "3 golden rows agree" in command("verify", bundle).output
    found = json.loads(command("verify", bundle, "--json").stdout)
    assert found["goldenRows"] == 3
    assert found["digest"] == open_bundle(bundle).digest


def resealed(bundle: Path, name: str, content: bytes) -> None:
    """Change a file and the manifest with it, as somebody who built the bundle wrongly would."""
    from penstock.bundle.files import digest_bytes

    (bundle / name).write_bytes(content)
    document = read_document((bundle / MANIFEST).read_bytes(), MANIFEST)
    entry = digest_bytes(content)
    document["files"][name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    (bundle / MANIFEST).write_text(write_document(document))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("row", "golden.jsonl line 2: tensors.x: the encoder gives"),
        ("tensors", "golden.jsonl line 2: tensors.x: the encoder gives"),
        ("outputs", "golden.jsonl line 2: outputs.p: the model gives"),
        ("prediction", "golden.jsonl line 2: prediction: post-processing gives"),
    ],
)
def test_verify_names_the_line_and_the_part_that_differs(
    build: Build, command: Command, part: str, said: str, fails: Fails
) -> None:
    bundle = build()
    lines = [json.loads(line) for line in (bundle / GOLDEN).read_text().splitlines()]
    changes: dict[str, Any] = {
        "row": {**lines[1]["row"], "distance": 5.0},
        "tensors": {"x": [0.5, *lines[1]["tensors"]["x"][1:]]},
        "outputs": {"p": [0.123, 0.877]},
        "prediction": {**lines[1]["prediction"], "label": "maybe"},
    }
    lines[1][part] = changes[part]
    resealed(bundle, GOLDEN, "".join(json.dumps(line) + "\n" for line in lines).encode())
    fails(command("verify", bundle), said)


def test_verify_refuses_an_encoder_of_another_spec_and_a_model_that_is_none(
    build: Build, command: Command, workshop: Path, fails: Fails
) -> None:
    bundle = build()
    spec = (bundle / "features.yaml").read_text()
    resealed(bundle, "features.yaml", spec.replace("name: seats", "name: chairs").replace("seats]", "chairs]").encode())
    fails(command("verify", bundle), "encoder.onnx: the graph has no input 'chairs'")
    resealed(bundle, "features.yaml", spec.encode())
    (bundle / "model.onnx").write_bytes(b"x")
    fails(command("verify", bundle), "model.onnx: has 1 bytes")
    resealed(bundle, "model.onnx", b"not a model")
    fails(command("verify", bundle), "model.onnx: not an ONNX model")
    fails(command("verify", workshop), "bundle.yaml: cannot be read")


def test_verify_runs_the_fused_graph_as_well(
    build: Build, command: Command, workshop: Path, save_model: Any, fails: Fails
) -> None:
    bundle = build("--fuse")
    save_model(workshop / "model.onnx", scale=2)
    other = build("--fuse", out="other")
    resealed(bundle, "fused.onnx", (other / "fused.onnx").read_bytes())
    fails(command("verify", bundle), "golden.jsonl line 1: outputs.p: fused.onnx gives")

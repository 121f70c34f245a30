"""Bundles of the flights model that must never get a request: each is whole by its digests, and fails one check of its
verification.

unloadable   its model is cut off in the middle
forgetful    its model gives other numbers than its golden examples say
greedy       its model fills more memory than its pod has, though its file is as small as before

Each is put into the claim as pvc://bundles/NAME.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import yaml
from bed.flights import Flights
from bed.variants import move
from onnx import TensorProto, helper

SIDE = 20_000
"""Of a square of floats: 1.6 GB, where pods have 1 GiB (versions.manifest)."""


def make_broken(flights: Flights, folder: Path) -> dict[str, Path]:
    """All of them; their folders by name."""
    made = {}
    for name, spoil in _SPOILT.items():
        made[name] = break_bundle(flights.bundle, folder / name, spoil)
        flights.put_bundle(made[name], name)
    return made


def break_bundle(bundle: Path, made: Path, spoil: Callable[[Path], None]) -> Path:
    """A copy of the bundle whose model is spoilt, and that says so of itself as if it were meant."""
    shutil.copytree(bundle, made)
    model = made / "model.onnx"
    spoil(model)
    manifest = yaml.safe_load((made / "bundle.yaml").read_text())
    content = model.read_bytes()
    manifest["version"] = made.name
    manifest["files"]["model.onnx"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (made / "bundle.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    return made


def cut_off(model: Path) -> None:
    content = model.read_bytes()
    model.write_bytes(content[: len(content) // 2])


def answer_otherwise(model: Path) -> None:
    move(model, model, 0.8)


def fill_memory(path: Path) -> None:
    """What is added to its answers is 0, of as many numbers as do not fit."""
    model = onnx.load(path)
    graph = model.graph
    (tree,) = graph.node
    tree.output[1] = "judged"
    graph.initializer.append(helper.make_tensor("side", TensorProto.INT64, [2], [SIDE, SIDE]))
    nothing = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0])
    graph.node.append(helper.make_node("ConstantOfShape", ["side"], ["square"], value=nothing))
    graph.node.append(helper.make_node("ReduceMean", ["square"], ["mean"], keepdims=0))
    graph.node.append(helper.make_node("Add", ["judged", "mean"], [graph.output[1].name]))
    onnx.checker.check_model(model)
    onnx.save(model, path)


_SPOILT: dict[str, Callable[[Path], None]] = {
    "unloadable": cut_off,
    "forgetful": answer_otherwise,
    "greedy": fill_memory,
}

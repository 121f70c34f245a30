"""Bundles of the flights model with something wrong, which passes every check before requests: only what they do shows it.

refuses   rejects flights whose plane the fleet's table does not have, where the example's takes a default
slow      the same answers by a larger graph, each of which takes so much longer
swapped   the same scores under each other's labels
shifted   the same order of flights, other scores

Each is put into the claim as pvc://bundles/NAME.
"""

import csv
import math
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from bed.flights import Flights
from bed.trouble import BedError
from bed.variants import build, describe, move, workshop
from onnx import TensorProto, helper, numpy_helper

MOVED_BY = 0.8
"""Logits: scores of 0.2 become 0.36."""
_WIDTH = 1024
_TRIED = 10
_BUILT = "- name: built\n  from: planes.built\n  type: int64\n  missing: {default: 2001}\n"


def make_refusing(flights: Flights, name: str = "refuses") -> Path:
    """Put it into the claim; its folder. Raises BedError."""
    _prepare_refusing(workshop(flights), name)
    return build(flights, [name])[name]


def make_swapped(flights: Flights, name: str) -> Path:
    """Put it into the claim; its folder. Raises BedError."""
    _prepare_swapped(workshop(flights), name)
    return build(flights, [name])[name]


def make_faulty(flights: Flights, slower_by_s: float) -> dict[str, Path]:
    """All of them; the slow one takes that much longer for a request alone. Raises BedError."""
    folder = workshop(flights)
    _prepare_refusing(folder, "refuses")
    _slow_down(folder / "model.onnx", folder / "slow.onnx", slower_by_s)
    describe(folder, "slow")
    _prepare_swapped(folder, "swapped")
    move(folder / "model.onnx", folder / "shifted.onnx", MOVED_BY)
    describe(folder, "shifted")
    return build(flights, ["refuses", "slow", "swapped", "shifted"])


def _prepare_swapped(folder: Path, name: str) -> None:
    _copy_model(folder, name)
    describe(folder, name, ("labels: [on time, late]", "labels: [late, on time]"))


def _prepare_refusing(folder: Path, name: str) -> None:
    features = (folder / "features.yaml").read_text()
    if _BUILT not in features:
        raise BedError("the example's features.yaml says something else of `built`")
    (folder / f"{name}.features.yaml").write_text(features.replace(_BUILT, _BUILT.replace("{default: 2001}", "reject")))
    # Examples that it would refuse would say so before any request.
    with (folder / "examples.csv").open() as given, (folder / f"{name}.examples.csv").open("w") as kept:
        rows = csv.DictReader(given)
        writer = csv.DictWriter(kept, list(rows.fieldnames or ()))
        writer.writeheader()
        writer.writerows(row for row in rows if row["built"])
    _copy_model(folder, name)
    describe(folder, name)


def _copy_model(folder: Path, name: str) -> None:
    (folder / f"{name}.onnx").write_bytes((folder / "model.onnx").read_bytes())


def _slow_down(source: Path, target: Path, by_s: float) -> None:
    """The same model beside as many products of matrices as take that long on this machine; what they give adds nothing."""
    onnx.save(_with_work(onnx.load(source), _TRIED), target)
    each_s = (_run_s(target) - _run_s(source)) / _TRIED
    count = max(1, math.ceil(by_s / max(each_s, 1e-5)))
    onnx.save(_with_work(onnx.load(source), count), target)
    print(f"slow: {count} products of {1e6 * each_s:.0f} us, {1e3 * _run_s(target):.1f} ms against {1e3 * _run_s(source):.1f} ms")


def _with_work(model: onnx.ModelProto, count: int) -> onnx.ModelProto:
    rng = np.random.default_rng(1)
    graph = model.graph
    columns = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    (tree,) = graph.node
    tree.output[1] = "judged"
    weights = {"first": (columns, _WIDTH), "again": (_WIDTH, _WIDTH)}
    for name, shape in weights.items():
        values = (rng.standard_normal(shape) / math.sqrt(shape[0])).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, name))
    graph.initializer.append(helper.make_tensor("nothing", TensorProto.FLOAT, [], [1e-12]))
    last = graph.input[0].name
    for number in range(count):
        product, bounded = f"product_{number}", f"bounded_{number}"
        graph.node.append(helper.make_node("MatMul", [last, "again" if number else "first"], [product]))
        graph.node.append(helper.make_node("Tanh", [product], [bounded]))
        last = bounded
    graph.node.append(helper.make_node("ReduceMean", [last], ["mean"], axes=[1], keepdims=1))
    graph.node.append(helper.make_node("Mul", ["mean", "nothing"], ["little"]))
    graph.node.append(helper.make_node("Add", ["judged", "little"], [graph.output[1].name]))
    onnx.checker.check_model(model)
    return model


def _run_s(path: Path) -> float:
    """The least time of one row: what disturbs it on a busy machine only makes it longer."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    row = {session.get_inputs()[0].name: np.ones((1, session.get_inputs()[0].shape[1]), np.float32)}
    return min(_timed(session, row) for _ in range(20))


def _timed(session: onnxruntime.InferenceSession, row: dict[str, np.ndarray]) -> float:
    began = time.perf_counter()
    session.run(None, row)
    return time.perf_counter() - began

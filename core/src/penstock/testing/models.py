"""Small ONNX models of every kind that a predictor has to cope with, made on the spot. Needs the `onnx` package.

Each function gives a serialised model (`bytes`). `ROW_KINDS` are models whose rows are independent, `ODD_KINDS` those that must
never share a run, both by the name that says why.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from penstock.tensors import Array

OPSET, IR = 17, 8

Axes = Sequence[int | str | None]


def _model(
    nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], constants: dict[str, Array] | None = None
) -> bytes:
    initializers = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _value(name: str, kind: int, axes: Axes) -> Any:
    return helper.make_tensor_value_info(name, kind, list(axes))


def _floats(name: str, *axes: int | str | None) -> Any:
    return _value(name, TensorProto.FLOAT, axes)


def mlp(sizes: Sequence[int] = (32, 64, 64, 1), seed: int = 0, rows: int | str = "rows") -> bytes:
    """A ReLU network `x` FP32 [rows, sizes[0]] -> `y` FP32 [rows, sizes[-1]]."""
    rng = np.random.default_rng(seed)
    nodes, constants, last = [], {}, "x"
    for layer, (a, b) in enumerate(pairwise(sizes)):
        constants[f"w{layer}"] = (rng.normal(size=(a, b)) / np.sqrt(a)).astype(np.float32)
        constants[f"b{layer}"] = rng.normal(size=b).astype(np.float32)
        end = layer == len(sizes) - 2
        nodes.append(helper.make_node("Gemm", [last, f"w{layer}", f"b{layer}"], ["y" if end else f"g{layer}"]))
        if not end:
            nodes.append(helper.make_node("Relu", [f"g{layer}"], [f"r{layer}"]))
            last = f"r{layer}"
    return _model(nodes, [_floats("x", rows, sizes[0])], [_floats("y", rows, sizes[-1])], constants)


def doubled(kind: int = TensorProto.FLOAT, axes: Axes = ("rows", 3)) -> bytes:
    """`y` = `x` + `x`, of any numeric type and shape."""
    return _model([helper.make_node("Add", ["x", "x"], ["y"])], [_value("x", kind, axes)], [_value("y", kind, axes)])


def half(axes: Axes = ("rows", 3)) -> bytes:
    """`doubled` in float16."""
    return doubled(TensorProto.FLOAT16, axes)


def widened(kind: int = TensorProto.BFLOAT16) -> bytes:
    """`y` FP32 [rows, 3] = `x` of a type that the protocol may not have."""
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    return _model([node], [_value("x", kind, ["rows", 3])], [_floats("y", "rows", 3)])


def negated(axes: Axes = ("rows", 2)) -> bytes:
    """`y` = not `x`, both BOOL."""
    node = helper.make_node("Not", ["x"], ["y"])
    return _model([node], [_value("x", TensorProto.BOOL, axes)], [_value("y", TensorProto.BOOL, axes)])


def labels(words: Sequence[str] = ("a", "b", "no", "yes")) -> bytes:
    """`index` INT64 = the place of `word` BYTES [rows, 1] in a list, -1 if it is not there; `same` = the word itself."""
    encode = helper.make_node(
        "LabelEncoder",
        ["word"],
        ["index"],
        domain="ai.onnx.ml",
        keys_strings=list(words),
        values_int64s=list(range(len(words))),
        default_int64=-1,
    )
    same = helper.make_node("Identity", ["word"], ["same"])
    return _model(
        [encode, same],
        [_value("word", TensorProto.STRING, ["rows", 1])],
        [_value("index", TensorProto.INT64, ["rows", 1]), _value("same", TensorProto.STRING, ["rows", 1])],
    )


def several() -> bytes:
    """`a` FP32 [rows, 2], `b` INT64 [rows] -> `sum` FP32 [rows, 2], `big` BOOL [rows] = b > 2, `b2` INT64 [rows] = 2 b."""
    nodes = [
        helper.make_node("Cast", ["b"], ["bf"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["bf", "one"], ["column"]),
        helper.make_node("Add", ["a", "column"], ["sum"]),
        helper.make_node("Greater", ["b", "two"], ["big"]),
        helper.make_node("Add", ["b", "b"], ["b2"]),
    ]
    constants = {"one": np.array([1]), "two": np.array(2)}
    outputs = [
        _floats("sum", "rows", 2),
        _value("big", TensorProto.BOOL, ["rows"]),
        _value("b2", TensorProto.INT64, ["rows"]),
    ]
    return _model(nodes, [_floats("a", "rows", 2), _value("b", TensorProto.INT64, ["rows"])], outputs, constants)


def row_sum(*axes: int | str | None) -> bytes:
    """`y` [rows] = the sum of `x` [rows, length] along its second axis, which varies."""
    node = helper.make_node("ReduceSum", ["x", "axis"], ["y"], keepdims=0)
    return _model([node], [_floats("x", *(axes or ("rows", "length")))], [_floats("y", "rows")], {"axis": np.array([1])})


def sequences(width: int = 64) -> bytes:
    """`y` FP32 [rows, width] = the mean over a sequence `x` [rows, length] of two layers' features: its memory grows with rows
    times length times width."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Unsqueeze", ["x", "last"], ["u"]),
        helper.make_node("MatMul", ["u", "w0"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["c"]),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("ReduceMean", ["d"], ["y"], axes=[1], keepdims=0),
    ]
    constants = {
        "w0": rng.normal(size=(1, width)).astype(np.float32),
        "w1": (rng.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32),
        "last": np.array([2]),
    }
    return _model(nodes, [_floats("x", "rows", "length")], [_floats("y", "rows", width)], constants)


def embedding(size: int = 5) -> bytes:
    """`y` = a row of a table of `size` rows, by `index` INT64 [rows]; an index outside the table fails the run."""
    table = np.arange(size * 2, dtype=np.float32).reshape(size, 2)
    node = helper.make_node("Gather", ["table", "index"], ["y"])
    return _model([node], [_value("index", TensorProto.INT64, ["rows"])], [_floats("y", "rows", 2)], {"table": table})


def centred() -> bytes:
    """`y` = `x` [rows, 3] less the mean over the rows: rows interact."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return _model(nodes, [_floats("x", "rows", 3)], [_floats("y", "rows", 3)])


def counted() -> bytes:
    """`y` = the running sum of `x` [rows, 3] over the rows: a row depends on those before it."""
    node = helper.make_node("CumSum", ["x", "axis"], ["y"])
    return _model([node], [_floats("x", "rows", 3)], [_floats("y", "rows", 3)], {"axis": np.array(0)})


def ordered() -> bytes:
    """`y` = `x` [rows, 1] sorted over all rows."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], start=0, end=1),
        helper.make_node("TopK", ["x", "shape"], ["y", "places"], axis=0),
    ]
    return _model(nodes, [_floats("x", "rows", 1)], [_floats("y", "rows", 1)])


def quantised() -> bytes:
    """`y` = `x` [rows, 3] rounded to 8 bits of the range of the whole batch: a large mate spoils a small row."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    return _model(nodes, [_floats("x", "rows", 3)], [_floats("y", "rows", 3)])


def noisy() -> bytes:
    """`y` = `x` [rows, 3] plus noise: two runs never agree."""
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"]),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    return _model(nodes, [_floats("x", "rows", 3)], [_floats("y", "rows", 3)])


def total() -> bytes:
    """`y` FP32 [] = the sum of `x` [rows, 3]: an output without a batch axis."""
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    return _model([node], [_floats("x", "rows", 3)], [_floats("y")])


def turned() -> bytes:
    """`y` [3, rows] = `x` [rows, 3] transposed: the output's batch axis is its second."""
    node = helper.make_node("Transpose", ["x"], ["y"])
    return _model([node], [_floats("x", "rows", 3)], [_floats("y", 3, "rows")])


def scalars() -> bytes:
    """`y` [] = `a` [] + `b` []: no axes at all."""
    return _model([helper.make_node("Add", ["a", "b"], ["y"])], [_floats("a"), _floats("b")], [_floats("y")])


def scaled() -> bytes:
    """`y` = `x` [rows, 3] * `factor` [1]: only one of the inputs has the batch axis."""
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    return _model([node], [_floats("x", "rows", 3), _floats("factor", 1)], [_floats("y", "rows", 3)])


def vector(length: int = 4) -> bytes:
    """`y` [] = the largest of `x` [length]: one fixed shape and no batch."""
    return _model([helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)], [_floats("x", length)], [_floats("y")])


def fixed(rows: int = 4) -> bytes:
    """An `mlp` that takes exactly `rows` rows."""
    return mlp((3, 8, 2), rows=rows)


def fixed_centred(rows: int = 4) -> bytes:
    """Like `centred`, with exactly `rows` rows: padding would change the answer."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return _model(nodes, [_floats("x", rows, 3)], [_floats("y", rows, 3)])


def listed() -> bytes:
    """`label` INT64 [rows] beside `scores`, a list of dictionaries as some converters make it."""
    nodes = [
        helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["x"], ["scores"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]),
    ]
    dictionary = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    scores = helper.make_value_info("scores", helper.make_sequence_type_proto(dictionary))
    return _model(nodes, [_floats("x", "rows", 3)], [_value("label", TensorProto.INT64, ["rows"]), scores])


def save_external(directory: Path, location: str = "weights.bin", *, actual: Path | None = None) -> Path:
    """An `mlp` in `directory`/model.onnx that names `location` for its weights, written to `actual` (by default there)."""
    model = onnx.load_from_string(mlp())
    onnx.save_model(model, directory / "model.onnx", save_as_external_data=True, location="weights.tmp", size_threshold=0)
    (directory / "weights.tmp").rename(actual or directory / location)
    model = onnx.load(directory / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (directory / "model.onnx").write_bytes(model.SerializeToString())
    return directory / "model.onnx"


ROW_KINDS: dict[str, Callable[[], bytes]] = {
    "mlp": mlp,
    "doubled": doubled,
    "half": half,
    "negated": negated,
    "labels": labels,
    "several": several,
    "row_sum": row_sum,
    "embedding": embedding,
    "listed": listed,
}
ODD_KINDS: dict[str, Callable[[], bytes]] = {
    "centred": centred,
    "counted": counted,
    "ordered": ordered,
    "quantised": quantised,
    "noisy": noisy,
    "total": total,
    "turned": turned,
    "scalars": scalars,
    "scaled": scaled,
    "vector": vector,
    "fixed_centred": fixed_centred,
}

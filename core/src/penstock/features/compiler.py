"""A plan compiled to an ONNX graph: the encoder that runs in the transformer, in front of the model, in training and in a
browser.

Inputs: one a feature, `[N]` (lists `[N, length]` and words `[N, words]`, with `<name>__length`; images uint8 `[N, height, width,
channels]`; of tokenised texts their parts, `<name>__input_ids` and so on, int64 `[N, tokens]`), and `<name>__missing` where the
policy needs it. Outputs: the model's input tensors. Standard operators only, of opset 17 and
ai.onnx.ml 3, in IR 8: ONNX Runtime 1.17 and later and ONNX Runtime Web run them. The same spec gives the same bytes, whichever
onnx wrote them.

Inside, values are `[width, N]`. Features with the same chain of element-wise steps are computed together, so that twenty
standardised numbers cost one Sub and one Div, not twenty. Needs the package `onnx` (extra `compile`); nothing at run time does.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from penstock.features.definition import default_of
from penstock.features.encodings.encoding import Elementwise, build_together
from penstock.features.plan import LENGTH_SUFFIX, FeaturePlan, Plan, TensorPlan, plan
from penstock.features.spec import FeatureSpec
from penstock.features.value import NUMPY_KINDS, GraphValue, ValueType
from penstock.tensors import Array

OPSET = 17
ML_OPSET = 3
IR_VERSION = 8

_ONNX_KINDS = {
    "string": TensorProto.STRING,
    "bool": TensorProto.BOOL,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
}


def compile_encoder(spec: FeatureSpec, *, opset: int = OPSET) -> bytes:
    """The bytes of encoder.onnx. `opset` is raised only to join a graph to a newer model's."""
    return bytes(compile_model(plan(spec), opset=opset).SerializeToString(deterministic=True))


def compile_model(planned: Plan, *, opset: int = OPSET) -> Any:
    """The encoder as an `onnx.ModelProto`, checked."""
    graph = _Graph()
    builder = _Compiler(planned, graph)
    outputs = [builder.tensor(tensor) for tensor in planned.tensors]
    proto = helper.make_graph(graph.nodes, "encoder", builder.inputs, outputs, initializer=graph.initializers)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(proto, opset_imports=opsets, producer_name="penstock", ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


class _Graph:
    """The GraphBuilder: nodes in order, each made once however often it is asked for; equal constants stored once."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._made: dict[Any, str] = {}

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        key = (operator, domain, inputs, repr(sorted(attributes.items())))
        if key not in self._made:
            name = f"/{operator}_{len(self.nodes)}"
            self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, domain=domain, **attributes))
            self._made[key] = name
        return self._made[key]

    def name_output(self, name: str, output: str) -> None:
        """Give a computed tensor the name of a graph's output."""
        self.nodes.append(helper.make_node("Identity", [name], [output], name=f"/Output_{len(self.nodes)}"))

    def constant(self, array: Array) -> str:
        content = tuple(array.ravel().tolist()) if array.dtype == object else array.tobytes()
        key = (array.dtype.str, array.shape, content)
        if key not in self._made:
            name = f"/constant_{len(self.initializers)}"
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
            self._made[key] = name
        return self._made[key]

    def cast(self, name: str, kind: str) -> str:
        return self.node("Cast", name, to=int(_ONNX_KINDS[kind]))

    def numbers(self, value: GraphValue) -> str:
        name = value.name if value.type.kind == "float64" else self.cast(value.name, "float64")
        if value.missing is None:
            return name
        return self.node("Where", value.missing, self.constant(np.array([[np.nan]])), name)


class _Compiler:
    """Puts a plan's features and tensors into a graph."""

    def __init__(self, planned: Plan, graph: _Graph) -> None:
        self.plan = planned
        self.graph = graph
        self.inputs: list[Any] = []
        for feature in planned.graph_inputs:
            self._declare(feature)
        for source in dict.fromkeys(tensor.source for tensor in planned.tensors if tensor.source is not None):
            self.inputs.append(helper.make_tensor_value_info(source, TensorProto.INT64, ["N", f"{source}s"]))

    def _declare(self, feature: FeaturePlan) -> None:
        name = feature.feature.name
        shape: list[int | str] = list(feature.raw.shape)
        if feature.image is not None:
            shape = list(feature.image.pixels)
        if feature.words is not None:
            shape = [f"{name}__words"]
        self.inputs.append(helper.make_tensor_value_info(name, _ONNX_KINDS[feature.raw.kind], ["N", *shape]))
        if feature.is_list or feature.words is not None:
            self.inputs.append(helper.make_tensor_value_info(name + LENGTH_SUFFIX, TensorProto.INT64, ["N"]))
        if feature.mask_input:
            self.inputs.append(helper.make_tensor_value_info(feature.mask_input, TensorProto.BOOL, ["N"]))

    def tensor(self, tensor: TensorPlan) -> Any:
        """Build one of the model's inputs; its declaration."""
        if tensor.source is not None:
            name = tensor.source if tensor.kind == "int64" else self.graph.cast(tensor.source, tensor.kind)
        elif len(tensor.row_shape) > 1:
            name = self._as_kind(self._encoded(self.plan.features[tensor.parts[0]]), tensor.kind)
        else:
            joined = self._join(tensor)
            name = self.graph.node("Transpose", joined, perm=[1, 0])
            if not tensor.row_shape:
                name = self.graph.node("Reshape", name, self.graph.constant(np.array([-1])))
        self.graph.name_output(name, tensor.output)
        shape = [f"{tensor.source}s" if size == -1 else size for size in tensor.row_shape]
        return helper.make_tensor_value_info(tensor.output, _ONNX_KINDS[tensor.kind], ["N", *shape])

    def _join(self, tensor: TensorPlan) -> str:
        """All features `[width, N]` in the tensor's order: groups first, then a reordering if groups were not neighbours."""
        planned = [self.plan.features[part] for part in tensor.parts]
        made: list[str] = []
        order: list[str] = []
        for members in _groups(planned):
            made.append(self._as_kind(self._group(members) if len(members) > 1 else self._encoded(members[0]), tensor.kind))
            order.extend(member.feature.name for member in members)
        joined = self.graph.node("Concat", *made, axis=0) if len(made) > 1 else made[0]
        start, rows = 0, {}
        for name in order:
            width = self.plan.features[name].result.width
            rows[name] = range(start, start + width)
            start += width
        wanted = [row for part in tensor.parts for row in rows[part]]
        if wanted == list(range(start)):
            return joined
        return self.graph.node("Gather", joined, self.graph.constant(np.array(wanted)), axis=0)

    def _as_kind(self, value: GraphValue, kind: str) -> str:
        if kind == value.type.kind and value.missing is None:
            return value.name
        name = value.name if value.missing is None else self.graph.numbers(value)
        return self.graph.cast(self.graph.cast(name, "float32") if kind == "float16" else name, kind)

    def _group(self, members: list[FeaturePlan]) -> GraphValue:
        """Features of one kind of raw value and one chain of element-wise steps, computed as `[features, N]`."""
        first = members[0]
        name = self._stack([member.feature.name for member in members])
        missing = self._stack([member.mask_input for member in members if member.mask_input]) if first.mask_input else None
        if first.feature.missing.policy == "default":
            defaults = np.array([[default_of(member)] for member in members], NUMPY_KINDS[first.raw.kind])
            name, missing = self._fill(name, first.raw, missing, defaults), None
        value = GraphValue(name, ValueType(first.raw.kind, (len(members),), first.raw.masked), missing)
        if not any(isinstance(step, Elementwise) for step in first.steps):
            return value
        x = self.graph.numbers(value)
        for chain in zip(*(member.steps for member in members), strict=True):
            steps = [step for step in chain if isinstance(step, Elementwise)]
            x = build_together(self.graph, x, steps) if steps else x
        return GraphValue(x, ValueType("float64", (len(members),)))

    def _stack(self, names: list[str]) -> str:
        """Inputs `[N]` as `[inputs, N]`: end to end, then cut, which is one copy."""
        joined = self.graph.node("Concat", *names, axis=0) if len(names) > 1 else names[0]
        return self.graph.node("Reshape", joined, self.graph.constant(np.array([len(names), -1])))

    def _fill(self, name: str, raw: ValueType, missing: str | None, defaults: Array) -> str:
        """Defaults `[features, 1]` where values are missing."""
        graph = self.graph
        if raw.kind == "bool":
            mask = missing or ""
            on = graph.node("And", mask, graph.constant(defaults))
            return graph.node("Or", graph.node("And", name, graph.node("Not", mask)), on)
        mask = missing if missing is not None else graph.node("IsNaN", name)
        return graph.node("Where", mask, graph.constant(defaults), name)

    def _raw(self, feature: FeaturePlan) -> GraphValue:
        """One feature's values with the default in place, `[width, N]`."""
        name, raw = feature.feature.name, feature.raw
        if feature.image is not None:
            return GraphValue(name, raw)
        columns = raw.shape or feature.words is not None
        name = self.graph.node("Transpose", name, perm=[1, 0]) if columns else self._stack([name])
        if feature.words is not None:
            return GraphValue(name, raw)
        missing = self._stack([feature.mask_input]) if feature.mask_input else None
        if feature.feature.missing.policy == "default":
            defaults = np.array(default_of(feature), NUMPY_KINDS[raw.kind]).reshape(-1, 1)
            return GraphValue(self._fill(name, raw, missing, defaults), raw)
        return GraphValue(name, raw, missing if raw.masked else None)

    def _encoded(self, feature: FeaturePlan) -> GraphValue:
        value = self._raw(feature)
        for step in feature.steps:
            others = {name: self._raw(self.plan.features[name]) for name in step.needs()}
            if step.consumes_list:
                value = replace(value, inside=self._inside(feature, value))
            value = step.build(self.graph, value, others)
        return self._cut(feature, value) if feature.stays_list else value

    def _inside(self, feature: FeaturePlan, value: GraphValue) -> str:
        """Bool `[width, N]`: which places each list has."""
        graph, length = self.graph, feature.raw.width
        own = self._stack([feature.feature.name + LENGTH_SUFFIX])
        if feature.mask_input:
            default = feature.feature.missing.default
            own = graph.node("Where", self._stack([feature.mask_input]), graph.constant(np.array([[len(default)]])), own)
        if feature.words is None:
            return graph.node("Less", graph.constant(np.arange(length).reshape(-1, 1)), own)
        longest = graph.node("Gather", graph.node("Shape", value.name), graph.constant(np.array(0)))
        places = graph.node("Range", graph.constant(np.array(0)), longest, graph.constant(np.array(1)))
        return graph.node("Less", graph.node("Reshape", places, graph.constant(np.array([-1, 1]))), own)

    def _cut(self, feature: FeaturePlan, value: GraphValue) -> GraphValue:
        """Zero (or empty text) in the positions behind each list's own length."""
        graph = self.graph
        inside = self._inside(feature, value)
        if value.type.kind == "bool":
            return GraphValue(graph.node("And", inside, value.name), value.type)
        filler = np.array([[""]], object) if value.type.kind == "string" else np.zeros((1, 1), NUMPY_KINDS[value.type.kind])
        return GraphValue(graph.node("Where", inside, value.name, graph.constant(filler)), value.type)


def _groups(features: Iterable[FeaturePlan]) -> list[list[FeaturePlan]]:
    """Features that can be computed together, in the order in which each group's first one stands."""
    groups: dict[Any, list[FeaturePlan]] = {}
    for feature in features:
        groups.setdefault(_group_key(feature), []).append(feature)
    return list(groups.values())


def _group_key(feature: FeaturePlan) -> Any:
    steps = [step for step in feature.steps if step.kind != "passthrough"]
    before = feature.image is not None or feature.words is not None
    if feature.raw.shape or before or not all(isinstance(step, Elementwise) for step in steps):
        return feature.feature.name
    chain = tuple((step.kind, step.structure()) for step in feature.steps if isinstance(step, Elementwise))
    return (feature.raw, feature.feature.missing.policy, chain, tuple(step.kind for step in feature.steps))

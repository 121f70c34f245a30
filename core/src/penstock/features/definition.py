"""The feature spec in numpy: what encoding means, slowly and plainly. The compiled graph is held to this by tests.

    columns -> defaults -> steps -> tensors

Needs neither onnx nor ONNX Runtime, so training code can use it anywhere.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Encoding
from penstock.features.plan import FeaturePlan, Plan, TensorPlan
from penstock.features.value import NUMPY_KINDS, Value
from penstock.features.values import column_of
from penstock.tensors import Array


def define(plan: Plan, columns: dict[str, Column]) -> dict[str, Array]:
    """Every tensor of the plan, `[rows, …]`, from one column a feature. Images come as uint8 `[rows, height, width, channels]`,
    tokenised texts as their parts, int64 `[rows, tokens]` in columns named like the graph's inputs (`text__input_ids`).

    Rows that the policy `reject` forbids are the caller's to refuse (`penstock.features.encoder.refuse_missing`).
    """
    with np.errstate(all="ignore"):
        raws = {f.feature.name: raw_value(f, columns[f.feature.name]) for f in plan.graph_inputs}
        encoded = {f.feature.name: apply_steps(f.steps, raws[f.feature.name], raws) for f in plan.graph_inputs}
        encoded = {name: _cut(plan.features[name], value, raws[name]) for name, value in encoded.items()}
        return {
            tensor.name: _join(tensor, [encoded[part] for part in tensor.parts])
            if tensor.source is None
            else columns[tensor.source].values.astype(NUMPY_KINDS[tensor.kind])
            for tensor in plan.tensors
        }


def raw_value(feature: FeaturePlan, column: Column) -> Value:
    """A column with its default in place (`default`), or its mask kept (`keep`)."""
    values, missing = column.values, column.missing
    inside = None
    if feature.feature.length is not None:
        inside = _inside(feature, column)
        values = pad_list(values, feature.feature.length, feature.raw.kind)
    if feature.feature.missing.policy == "default":
        default = default_of(feature)
        values = np.where(missing.reshape(-1, *(1,) * (values.ndim - 1)), default, values).astype(values.dtype)
    return Value(values, missing if feature.raw.masked else None, inside)


def _inside(feature: FeaturePlan, column: Column) -> npt.NDArray[np.bool_]:
    """Bool `[rows, length]`: which places each list has, or the default in its stead."""
    default = feature.feature.missing.default if feature.feature.missing.policy == "default" else []
    lengths = np.where(column.missing, len(default), [len(elements) for elements in column.values])
    inside: npt.NDArray[np.bool_] = np.arange(feature.raw.width) < lengths[:, None]
    return inside


def default_of(feature: FeaturePlan) -> Any:
    """The default as an element of the column's dtype, or an array `[length]` of them for a list."""
    column = column_of([feature.feature.missing.default], feature.feature.type, "default", length=feature.feature.length)
    if feature.feature.length is not None:
        return pad_list(column.values, feature.feature.length, feature.raw.kind)[0]
    return column.values[0]


def pad_list(lists: Array, length: int, kind: str) -> Array:
    """Lists `[rows]` of arrays as one array `[rows, length]`, filled up with 0 or empty text. Raises InvalidInput for a longer
    one.
    """
    padded = np.full((len(lists), length), "" if kind == "string" else 0, NUMPY_KINDS[kind])
    for row, elements in enumerate(lists):
        if len(elements) > length:
            raise InvalidInput(f"expected at most {length} elements, got {len(elements)}", field=f"rows[{row}]")
        padded[row, : len(elements)] = elements
    return padded


def apply_steps(steps: tuple[Encoding, ...], value: Value, raws: dict[str, Value]) -> Value:
    """A value through a chain of encodings. A list's places are known to the steps up to the one that consumes it."""
    inside = value.inside
    for step in steps:
        if step.consumes_list and value.inside is None:
            value = replace(value, inside=inside)
        value = step.apply(value, {name: raws[name] for name in step.needs()})
    return value


def _cut(feature: FeaturePlan, value: Value, raw: Value) -> Value:
    """Zero, or empty text, in the places behind each list's own length."""
    if not feature.stays_list or raw.inside is None:
        return value
    filler: Any = "" if value.array.dtype == object else 0
    return Value(np.where(raw.inside, value.array, filler).astype(value.array.dtype))


def _join(tensor: TensorPlan, values: list[Value]) -> Array:
    kind = NUMPY_KINDS[tensor.kind]
    parts = [_as_kind(value, tensor.kind) for value in values]
    if len(tensor.row_shape) > 1:
        return np.ascontiguousarray(parts[0], kind)
    joined = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    return joined.reshape(len(joined), *tensor.row_shape)


def _as_kind(value: Value, kind: str) -> Array:
    if kind == "string":
        return value.array
    array = value.array if value.missing is None else value.numbers()
    if kind == "float16":
        array = array.astype(np.float32)
    return array.astype(NUMPY_KINDS[kind])

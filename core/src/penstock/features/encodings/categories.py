"""Categories: which position of a list a value has. Shared by one-hot, multi-hot, ordinal, embedding index and target encoding.

Text and integers are compared exactly, numbers as numbers of the feature's own type (so a float32 feature finds the category
0.1). Comparison is of code points: nothing is normalised, folded or stripped.
"""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Encoding
from penstock.features.parameters import Parameters, describe
from penstock.features.value import NUMPY_KINDS, GraphBuilder, GraphValue, Value, ValueType
from penstock.tensors import Array

MAX_CATEGORIES = 1_000_000
_INTEGERS = {"int32": 2**31, "int64": 2**63}


class CategoryEncoding(Encoding):
    """An encoding whose one fitted parameter is its `categories`."""

    @classmethod
    def placeholders(cls, given: ValueType) -> dict[str, Any]:
        return {"categories": [{"string": "", "bool": False}.get(given.kind, 0)]}

    @classmethod
    def fit(cls, value: Value, parameters: dict[str, Any], target: Array | None) -> dict[str, Any]:
        return fitted_categories(value, parameters)


def fitted_categories(value: Value, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters with `categories` learnt from training values, unless they are given."""
    if "categories" in parameters:
        return parameters
    return {"categories": training_categories(value, parameters.get("minCount", 1))} | parameters


def read_categories(p: Parameters, given: ValueType, name: str = "categories") -> tuple[Any, ...]:
    """The categories of a parameter, of the feature's type, distinct. Raises InvalidInput naming the one at fault."""
    values = p.items(name)
    if not 1 <= len(values) <= MAX_CATEGORIES:
        raise InvalidInput(f"expected 1 to {MAX_CATEGORIES} categories, got {len(values)}", field=p.field(name))
    seen: dict[Any, int] = {}
    categories = []
    for index, value in enumerate(values):
        category = _category(value, given, f"{p.field(name)}[{index}]")
        first = seen.setdefault(category, index)
        if first != index:
            raise InvalidInput(f"{describe(value)} is given twice, first as {name}[{first}]", field=f"{p.field(name)}[{index}]")
        categories.append(category)
    return tuple(categories)


def read_category(value: Any, given: ValueType, field: str) -> Any:
    """One value as a category of the feature's type."""
    return _category(value, given, field)


def _category(value: Any, given: ValueType, field: str) -> Any:
    kind = given.kind
    if kind == "string":
        if not isinstance(value, str):
            raise InvalidInput(f"expected text, got {describe(value)}; put it in quotes if it is text", field=field)
        return value
    if kind == "bool":
        if not isinstance(value, bool):
            raise InvalidInput(f"expected true or false, got {describe(value)}", field=field)
        return value
    if kind in _INTEGERS:
        if type(value) is not int or not -_INTEGERS[kind] <= value < _INTEGERS[kind]:
            raise InvalidInput(f"expected an integer of type {kind}, got {describe(value)}", field=field)
        return value
    if type(value) not in (int, float) or value != value:
        raise InvalidInput(f"expected a number, got {describe(value)}", field=field)
    return NUMPY_KINDS[kind].type(value).item()


def training_categories(value: Value, min_count: int) -> list[Any]:
    """The distinct training values seen at least `min_count` times, sorted; of lists, those in so many lists."""
    if value.inside is not None:
        return _listed_categories(value.array, value.inside, min_count)
    values = value.array if value.missing is None else value.array[~value.missing]
    if values.dtype.kind == "f":
        values = values[~np.isnan(values)]
    found, counts = np.unique(values.astype(object) if values.dtype == object else values, return_counts=True)
    kept: list[Any] = found[counts >= min_count].tolist()
    if not kept:
        raise InvalidInput("no training values to take categories from")
    return kept


def _listed_categories(lists: Array, inside: npt.NDArray[np.bool_], min_count: int) -> list[Any]:
    rows = zip(lists.tolist(), inside.tolist(), strict=True)
    found = Counter(v for values, mask in rows for v in {v for v, there in zip(values, mask, strict=True) if there})
    kept = sorted(category for category, count in found.items() if count >= min_count and category == category)
    if not kept:
        raise InvalidInput("no training values to take categories from")
    return kept


def index_of(value: Value, categories: tuple[Any, ...], unseen: int, missing: int) -> npt.NDArray[np.int64]:
    """Each value's position among the categories, `unseen` for any other, `missing` where there is none (NaN included)."""
    positions = {category: index for index, category in enumerate(categories)}
    flat = [positions.get(v, unseen) for v in value.array.ravel().tolist()]
    index = np.array(flat, np.int64).reshape(value.array.shape)
    if value.array.dtype.kind == "f":
        return np.where(np.isnan(value.array), missing, index).astype(np.int64)
    if value.missing is not None:
        return np.where(value.missing, missing, index).astype(np.int64)
    return index


def build_index(graph: GraphBuilder, value: GraphValue, categories: tuple[Any, ...], unseen: int, missing: int) -> str:
    """The same in a graph: int64 of the value's shape. NaN, and what the mask says, gives `missing`."""
    kind = value.type.kind
    if kind in ("string", "int64", "int32", "bool"):
        keys = {"keys_strings": list(categories)} if kind == "string" else {"keys_int64s": [int(c) for c in categories]}
        name = value.name if kind in ("string", "int64") else graph.cast(value.name, "int64")
        index = graph.node(
            "LabelEncoder", name, domain="ai.onnx.ml", values_int64s=list(range(len(categories))), default_int64=unseen, **keys
        )
        if value.missing is None:
            return index
        return graph.node("Where", value.missing, graph.constant(np.array([[missing]])), index)
    index = _build_number_index(graph, graph.numbers(value), categories, unseen)
    if unseen == missing:
        return index
    return graph.node("Where", graph.node("IsNaN", value.name), graph.constant(np.array([[missing]])), index)


def _build_number_index(graph: GraphBuilder, x: str, categories: tuple[Any, ...], unseen: int) -> str:
    """At most one category equals x, so the sum over the matches of (position - unseen), plus unseen, is the position."""
    column = np.array(categories, np.float64).reshape(-1, 1)
    matches = graph.cast(graph.node("Equal", x, graph.constant(column)), "int64")
    offsets = graph.constant(np.arange(len(categories), dtype=np.int64).reshape(-1, 1) - unseen)
    total = graph.node("ReduceSum", graph.node("Mul", matches, offsets), graph.constant(np.array([0])), keepdims=1)
    return graph.node("Add", total, graph.constant(np.array([[unseen]])))

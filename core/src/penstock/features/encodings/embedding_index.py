"""embeddingIndex: the row of an embedding table, as int64: `start` (default 1) plus the position among `categories`. Exact.

Other and missing values give `unseen` (default 0, the row that training keeps for them). An integer feature may give `size`
instead of categories: values from 0 below `size` are their own row, and `start` is 0 then. Fitted: `categories` seen at least
`minCount` times, sorted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.categories import CategoryEncoding, build_index, fitted_categories, index_of, read_categories
from penstock.features.encodings.encoding import Scope
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType
from penstock.tensors import Array


@dataclass(frozen=True, slots=True)
class EmbeddingIndex(CategoryEncoding):
    """`embeddingIndex: {categories: [a, b], start: 1, unseen: 0}` or `embeddingIndex: {size: 5000, unseen: 0}`"""

    categories: tuple[Any, ...]
    size: int | None
    start: int
    unseen: int

    kind = "embeddingIndex"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        integer = given.kind in ("int32", "int64")
        if not integer and given.kind not in ("string", "bool"):
            raise InvalidInput(
                f"embeddingIndex needs text, integers or true and false; this feature is {given} here", field=p.path
            )
        p.integer("minCount", 1, least=1)
        unseen = p.integer("unseen", 0, least=0)
        if p.has("size"):
            if p.has("categories") or not integer:
                raise InvalidInput("size is for integer features, and in place of categories", field=p.field("size"))
            return cls((), p.integer("size", least=1), 0, unseen)
        return cls(read_categories(p, given), None, p.integer("start", 1, least=0), unseen)

    @classmethod
    def fit(cls, value: Value, parameters: dict[str, Any], target: Array | None) -> dict[str, Any]:
        return parameters if "size" in parameters else fitted_categories(value, parameters)

    def result(self, given: ValueType) -> ValueType:
        return ValueType("int64", given.shape)

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        if self.size is None:
            index = index_of(value, self.categories, -1, -1)
            return Value(np.where(index < 0, self.unseen, index + self.start))
        inside = (value.array >= 0) & (value.array < self.size)
        if value.missing is not None:
            inside &= ~value.missing
        return Value(np.where(inside, value.array.astype(np.int64), self.unseen))

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        result = self.result(value.type)
        zero, unseen = graph.constant(np.array([[0]])), graph.constant(np.array([[self.unseen]]))
        if self.size is None:
            index = build_index(graph, value, self.categories, -1, -1)
            outside = graph.node("Less", index, zero)
            if value.missing is not None:
                outside = graph.node("Or", outside, value.missing)
            moved = graph.node("Add", index, graph.constant(np.array([[self.start]]))) if self.start else index
            return GraphValue(graph.node("Where", outside, unseen, moved), result)
        index = graph.cast(value.name, "int64")
        above = graph.node("GreaterOrEqual", index, graph.constant(np.array([[self.size]])))
        outside = graph.node("Or", graph.node("Less", index, zero), above)
        if value.missing is not None:
            outside = graph.node("Or", outside, value.missing)
        return GraphValue(graph.node("Where", outside, unseen, index), result)

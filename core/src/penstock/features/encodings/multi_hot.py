"""multiHot: a column a category, 1 where the list has that category anywhere, 0 elsewhere. Exact.

For lists, and for the `words` of a text. `unseen: other` adds a last column, 1 where the list has a value outside the categories
(`zeros`, the default, leaves it out). An empty list is zeros. Fitted: `categories` in at least `minCount` lists (default 1),
sorted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.categories import CategoryEncoding, build_index, index_of, read_categories
from penstock.features.encodings.encoding import Scope
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType


@dataclass(frozen=True, slots=True)
class MultiHot(CategoryEncoding):
    """`multiHot: {categories: [wifi, pool], unseen: zeros}`"""

    categories: tuple[Any, ...]
    unseen: str

    kind = "multiHot"
    consumes_list = True

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        if not given.listed or given.kind not in ("string", "bool", "int32", "int64"):
            raise InvalidInput(
                f"multiHot needs a list of text, integers or true and false, or words; this feature is {given} here", field=p.path
            )
        p.integer("minCount", 1, least=1)
        return cls(read_categories(p, given), p.choice("unseen", ("zeros", "other"), "zeros"))

    def result(self, given: ValueType) -> ValueType:
        return ValueType("float32", (len(self.categories) + (self.unseen == "other"),))

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        width = self.result(ValueType("string")).width
        index = index_of(value, self.categories, len(self.categories), -1)
        index = np.where(value.inside, index, -1) if value.inside is not None else index
        return Value((index[:, :, None] == np.arange(width)).any(axis=1).astype(np.float32))

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        result = self.result(value.type)
        index = build_index(graph, value, self.categories, len(self.categories), -1)
        if value.inside is not None:
            index = graph.node("Where", value.inside, index, graph.constant(np.array([[-1]])))
        # [1, places, rows] against [columns, 1, 1]: whether any place has the column's category.
        places = graph.node("Unsqueeze", index, graph.constant(np.array([0])))
        columns = graph.constant(np.arange(result.width, dtype=np.int64).reshape(-1, 1, 1))
        hits = graph.cast(graph.node("Equal", places, columns), "float32")
        count = graph.node("ReduceSum", hits, graph.constant(np.array([1])), keepdims=0)
        return GraphValue(graph.cast(graph.cast(count, "bool"), "float32"), result)

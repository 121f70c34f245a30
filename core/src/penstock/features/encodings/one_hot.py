"""oneHot: a column a category, 1 where the value is that category, 0 elsewhere. Exact.

`unseen` says what a value outside the categories gives: `zeros` (all columns 0) or `other` (a further, last column). `missing`
says the same of a missing value: `zeros`, `other`, or `own` (a column of its own behind the categories). `drop` names a category
that gets no column. Columns: categories in their order, then `own`, then `other`. Fitted: `categories` seen at least `minCount`
times (default 1), sorted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.categories import CategoryEncoding, build_index, index_of, read_categories, read_category
from penstock.features.encodings.encoding import Scope
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType


@dataclass(frozen=True, slots=True)
class OneHot(CategoryEncoding):
    """`oneHot: {categories: [AA, UA], unseen: zeros, missing: zeros}`"""

    categories: tuple[Any, ...]
    unseen: str = "zeros"
    missing: str = "zeros"

    kind = "oneHot"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        if given.shape or given.kind == "uint8":
            raise InvalidInput(f"oneHot needs one value a row, this feature is {given} here", field=p.path)
        p.integer("minCount", 1, least=1)
        categories = read_categories(p, given)
        if p.has("drop"):
            dropped = read_category(p.any("drop"), given, p.field("drop"))
            if dropped not in categories or len(categories) == 1:
                raise InvalidInput(f"expected one of several categories, got {dropped!r}", field=p.field("drop"))
            categories = tuple(c for c in categories if c != dropped)
            if p.any("unseen", "zeros") == "other":
                raise InvalidInput("drop and unseen: other do not go together", field=p.field("drop"))
        return cls(
            categories, p.choice("unseen", ("zeros", "other"), "zeros"), p.choice("missing", ("zeros", "own", "other"), "zeros")
        )

    @property
    def width(self) -> int:
        """Columns in all."""
        return len(self.categories) + (self.missing == "own") + ("other" in (self.unseen, self.missing))

    def _special(self, how: str) -> int:
        return {"zeros": -1, "own": len(self.categories), "other": self.width - 1}[how]

    def result(self, given: ValueType) -> ValueType:
        return ValueType("float32", (self.width,))

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        index = index_of(value, self.categories, self._special(self.unseen), self._special(self.missing))
        return Value((index[:, None] == np.arange(self.width)).astype(np.float32))

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        index = build_index(graph, value, self.categories, self._special(self.unseen), self._special(self.missing))
        columns = graph.constant(np.arange(self.width, dtype=np.int64).reshape(-1, 1))
        return GraphValue(graph.cast(graph.node("Equal", index, columns), "float32"), self.result(value.type))

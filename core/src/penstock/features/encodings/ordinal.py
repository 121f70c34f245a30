"""ordinal: the position of the value among `categories`, from 0. Exact.

`unseen` (default -1) and `missing` (default: as unseen) are what other and missing values give: an integer, or `.nan`, which
makes the result float64. Fitted: `categories` seen at least `minCount` times (default 1), sorted.
"""

import math
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
class Ordinal(CategoryEncoding):
    """`ordinal: {categories: [low, middle, high], unseen: -1}`"""

    categories: tuple[Any, ...]
    unseen: int | None = -1
    missing: int | None = -1

    kind = "ordinal"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        if given.kind == "uint8" or (given.shape and not given.kind.startswith(("int", "string"))):
            raise InvalidInput(f"ordinal needs one value a row, this feature is {given} here", field=p.path)
        p.integer("minCount", 1, least=1)
        unseen = _code(p, "unseen", -1)
        return cls(read_categories(p, given), unseen, _code(p, "missing", math.nan if unseen is None else unseen))

    def result(self, given: ValueType) -> ValueType:
        return ValueType("float64" if None in (self.unseen, self.missing) else "int64", given.shape)

    def _codes(self) -> tuple[int, int]:
        """Stand-ins for NaN are negative numbers that no other outcome uses."""
        free = [code for code in (-1, -2, -3, -4) if code not in (self.unseen, self.missing)]
        return free[0] if self.unseen is None else self.unseen, free[1] if self.missing is None else self.missing

    def _nan_codes(self) -> list[int]:
        return [code for code, value in zip(self._codes(), (self.unseen, self.missing), strict=True) if value is None]

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        index = index_of(value, self.categories, *self._codes())
        if not self._nan_codes():
            return Value(index)
        return Value(np.where(np.isin(index, self._nan_codes()), np.nan, index))

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        index = build_index(graph, value, self.categories, *self._codes())
        result = self.result(value.type)
        if result.kind == "int64":
            return GraphValue(index, result)
        number = graph.cast(index, "float64")
        for code in self._nan_codes():
            is_code = graph.node("Equal", index, graph.constant(np.array([[code]])))
            number = graph.node("Where", is_code, graph.constant(np.array([[np.nan]])), number)
        return GraphValue(number, result)


def _code(p: Parameters, name: str, default: float) -> int | None:
    value = p.any(name, default)
    if isinstance(value, float) and math.isnan(value):
        return None
    return p.integer(name, default)

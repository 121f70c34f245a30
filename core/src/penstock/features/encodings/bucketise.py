"""bucketise: the number of `edges` at or below x, as int64 from 0 to the number of edges. NaN gives `missing` (default -1).
Exact.

With edges 0 and 10: below 0 is bucket 0, from 0 to below 10 is bucket 1, 10 and above is bucket 2. Follow it with `oneHot` for
columns. Fitted: `edges` are the inner quantiles of the finite training values, `buckets` of them (default 10), equal ones merged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Encoding, Scope, finite, require_numbers
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType
from penstock.tensors import Array


@dataclass(frozen=True, slots=True)
class Bucketise(Encoding):
    """`bucketise: {edges: [0, 10, 100], missing: -1}`"""

    edges: tuple[float, ...]
    missing: int = -1

    kind = "bucketise"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        require_numbers(p, given, cls.kind)
        if given.shape:
            raise InvalidInput(f"bucketise needs one number a row, this feature is {given} here", field=p.path)
        p.integer("buckets", 10, least=2, most=100_000)
        edges = p.numbers("edges", least=1)
        for index, (low, high) in enumerate(pairwise(edges), start=1):
            if not low < high:
                raise InvalidInput(
                    f"expected more than the edge before it ({low:g}), got {high:g}", field=f"{p.field('edges')}[{index}]"
                )
        return cls(edges, p.integer("missing", -1))

    @classmethod
    def placeholders(cls, given: ValueType) -> dict[str, Any]:
        return {"edges": [0.0]}

    @classmethod
    def fit(cls, value: Value, parameters: dict[str, Any], target: Array | None) -> dict[str, Any]:
        x = finite(value.numbers(), "edges")
        inner = np.linspace(0, 1, parameters.get("buckets", 10) + 1)[1:-1]
        return {"edges": np.unique(np.quantile(x, inner)).tolist()} | parameters

    def result(self, given: ValueType) -> ValueType:
        return ValueType("int64")

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        x = value.numbers()
        index = np.searchsorted(np.array(self.edges), x, side="right")
        return Value(np.where(np.isnan(x), self.missing, index).astype(np.int64))

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        x = graph.numbers(value)
        edges = graph.constant(np.array(self.edges).reshape(-1, 1))
        at_or_above = graph.cast(graph.node("GreaterOrEqual", x, edges), "int64")
        count = graph.node("ReduceSum", at_or_above, graph.constant(np.array([0])), keepdims=1)
        index = graph.node("Where", graph.node("IsNaN", x), graph.constant(np.array([[self.missing]])), count)
        return GraphValue(index, self.result(value.type))

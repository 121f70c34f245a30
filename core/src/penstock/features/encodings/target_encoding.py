"""targetEncoding: a number a category, from a table: usually the mean of the target in training. float64, exact.

Other values give `unseen`, missing ones `missing` (default: as unseen). Fitted: `categories` and `values`, each category's mean
of the target drawn towards the mean of all by `smoothing` (default 10) rows' worth; `unseen` is the mean of all. Fit on other
rows than the model trains on, or the model learns to trust it too much.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.categories import build_index, index_of, read_categories, training_categories
from penstock.features.encodings.encoding import Encoding, Scope
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType
from penstock.tensors import Array


@dataclass(frozen=True, slots=True)
class TargetEncoding(Encoding):
    """`targetEncoding: {categories: [AA, UA], values: [0.2, 0.3], unseen: 0.25}`"""

    categories: tuple[Any, ...]
    values: tuple[float, ...]
    unseen: float
    missing: float

    kind = "targetEncoding"
    needs_target = True

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        if given.kind == "uint8" or given.shape:
            raise InvalidInput(f"targetEncoding needs one value a row, this feature is {given} here", field=p.path)
        p.integer("minCount", 1, least=1)
        p.number("smoothing", 10.0)
        categories, values = read_categories(p, given), p.numbers("values")
        if len(values) != len(categories):
            raise InvalidInput(f"expected {len(categories)} numbers, one a category, got {len(values)}", field=p.field("values"))
        unseen = p.number("unseen")
        return cls(categories, values, unseen, p.number("missing", unseen))

    @classmethod
    def placeholders(cls, given: ValueType) -> dict[str, Any]:
        return {"categories": [{"string": "", "bool": False}.get(given.kind, 0)], "values": [0.0], "unseen": 0.0}

    @classmethod
    def fit(cls, value: Value, parameters: dict[str, Any], target: Array | None) -> dict[str, Any]:
        if {"categories", "values", "unseen"} <= parameters.keys():
            return parameters
        assert target is not None
        goal = target.astype(np.float64)
        mean, smoothing = float(goal.mean()), float(parameters.get("smoothing", 10.0))
        categories = parameters.get("categories") or training_categories(value, parameters.get("minCount", 1))
        index = index_of(value, tuple(categories), -1, -1)
        count = np.bincount(index[index >= 0], minlength=len(categories))
        total = np.bincount(index[index >= 0], weights=goal[index >= 0], minlength=len(categories))
        values = ((total + smoothing * mean) / np.maximum(count + smoothing, 1e-300)).tolist()
        return {"categories": categories, "values": values, "unseen": mean} | parameters

    def _table(self) -> Array:
        return np.array([*self.values, self.unseen, self.missing], np.float64)

    def result(self, given: ValueType) -> ValueType:
        return ValueType("float64")

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        count = len(self.categories)
        return Value(self._table()[index_of(value, self.categories, count, count + 1)])

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        count = len(self.categories)
        index = build_index(graph, value, self.categories, count, count + 1)
        return GraphValue(graph.node("Gather", graph.constant(self._table()), index, axis=0), self.result(value.type))

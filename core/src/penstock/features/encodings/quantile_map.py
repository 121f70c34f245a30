"""quantileMap: the share of training values below x, from 0 to 1, read off their quantiles. NaN stays NaN. Exact.

`quantiles` are those of evenly spaced shares, the first of share 0 and the last of share 1, and may repeat: between two
different ones the share is interpolated, at one that repeats it is the middle of its shares; outside it is 0 or 1. The formula
is that of scikit-learn's QuantileTransformer: the mean of an interpolation from the left and one from the right. Computed in
float64. Fitted: `quantiles`, `count` of them (default 100), over the training values that are numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Encoding, Numbers, Scope, finite, require_numbers
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType
from penstock.tensors import Array

MAX_QUANTILES = 10_000


@dataclass(frozen=True, slots=True)
class QuantileMap(Encoding):
    """`quantileMap: {quantiles: [0, 1, 1, 5, 40]}`"""

    quantiles: tuple[float, ...]

    kind = "quantileMap"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        require_numbers(p, given, cls.kind)
        if given.shape:
            raise InvalidInput(f"quantileMap needs one number a row, this feature is {given} here", field=p.path)
        p.integer("count", 100, least=2, most=MAX_QUANTILES)
        quantiles = p.numbers("quantiles", least=2)
        field = p.field("quantiles")
        if len(quantiles) > MAX_QUANTILES:
            raise InvalidInput(f"expected at most {MAX_QUANTILES}, got {len(quantiles)}", field=field)
        for index, (low, high) in enumerate(pairwise(quantiles), start=1):
            if not low <= high:
                raise InvalidInput(f"expected no less than the one before it ({low:g}), got {high:g}", field=f"{field}[{index}]")
        return cls(quantiles)

    @classmethod
    def placeholders(cls, given: ValueType) -> dict[str, Any]:
        return {"quantiles": [0.0, 1.0]}

    @classmethod
    def fit(cls, value: Value, parameters: dict[str, Any], target: Array | None) -> dict[str, Any]:
        if "quantiles" in parameters:
            return parameters
        x = finite(value.numbers(), "quantiles")
        count = max(2, min(parameters.get("count", 100), len(x)))
        return {"quantiles": np.maximum.accumulate(np.quantile(x, np.linspace(0, 1, count))).tolist()} | parameters

    def result(self, given: ValueType) -> ValueType:
        return ValueType("float64", given.shape)

    def _knots(self) -> list[tuple[Numbers, Numbers, Numbers]]:
        """From the left and from the right: knots, shares, and the slope from each knot to the next (0 behind the last)."""
        quantiles = np.array(self.quantiles)
        shares = np.linspace(0, 1, len(quantiles))
        made = []
        for knots, values in ((quantiles, shares), (-quantiles[::-1], -shares[::-1])):
            with np.errstate(all="ignore"):
                slopes = np.append(np.diff(values) / np.diff(knots), 0.0)
            # Between equal knots, or knots so close that the slope overflows, nothing is ever read.
            made.append((knots, values, np.where(np.isfinite(slopes), slopes, 0.0)))
        return made

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        x = value.numbers()
        halves = []
        for side, (knots, values, slopes) in zip((x, -x), self._knots(), strict=True):
            held = np.clip(side, knots[0], knots[-1])
            index = np.maximum(np.searchsorted(knots, held, side="right") - 1, 0)
            halves.append(slopes[index] * (held - knots[index]) + values[index])
        share = 0.5 * (halves[0] - halves[1])
        share = np.where(x >= self.quantiles[-1], 1.0, share)
        share = np.where(x <= self.quantiles[0], 0.0, share)
        return Value(np.where(np.isnan(x), np.nan, share))

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        x = graph.numbers(value)
        halves = []
        for side, (knots, values, slopes) in zip((x, graph.node("Neg", x)), self._knots(), strict=True):
            # NaN would find no place in the tables; it is put back at the end.
            known = graph.node("Where", graph.node("IsNaN", side), graph.constant(knots[:1].reshape(1, 1)), side)
            held = graph.node("Max", known, graph.constant(knots[:1].reshape(1, 1)))
            held = graph.node("Min", held, graph.constant(knots[-1:].reshape(1, 1)))
            reached = graph.cast(graph.node("GreaterOrEqual", held, graph.constant(knots.reshape(-1, 1))), "int64")
            count = graph.node("ReduceSum", reached, graph.constant(np.array([0])), keepdims=1)
            index = graph.node("Sub", count, graph.constant(np.array([[1]])))
            slope, knot, start = (graph.node("Gather", graph.constant(table), index) for table in (slopes, knots, values))
            halves.append(graph.node("Add", graph.node("Mul", slope, graph.node("Sub", held, knot)), start))
        share = graph.node("Mul", graph.node("Sub", *halves), graph.constant(np.array([[0.5]])))
        for operator, edge, end in (("GreaterOrEqual", -1, 1.0), ("LessOrEqual", 0, 0.0)):
            outside = graph.node(operator, x, graph.constant(np.array([[self.quantiles[edge]]])))
            share = graph.node("Where", outside, graph.constant(np.array([[end]])), share)
        share = graph.node("Where", graph.node("IsNaN", x), x, share)
        return GraphValue(share, self.result(value.type))

"""minMax: `(x - min) / (max - min)` stretched to `range`, in float64. Exact: graph and definition agree bit for bit.

`clip: true` holds results within the range. Fitted: `min` and `max` of the finite training values; a constant feature gets a span
of 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.clip import limit
from penstock.features.encodings.encoding import Elementwise, Numbers, Scope, finite, require_numbers
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, Value, ValueType
from penstock.tensors import Array


@dataclass(frozen=True, slots=True)
class MinMax(Elementwise):
    """`minMax: {min: 0, max: 10, range: [0, 1], clip: false}`"""

    min: float
    max: float
    low: float = 0.0
    high: float = 1.0
    clip: bool = False

    kind = "minMax"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        require_numbers(p, given, cls.kind)
        low_high = p.numbers("range", [0, 1])
        if len(low_high) != 2 or not low_high[0] < low_high[1]:
            raise InvalidInput("expected two numbers, the lower first", field=p.field("range"))
        encoding = cls(p.number("min"), p.number("max"), low_high[0], low_high[1], p.flag("clip"))
        if not encoding.min <= encoding.max:
            raise InvalidInput(f"expected at least min ({encoding.min:g}), got {encoding.max:g}", field=p.field("max"))
        return encoding

    @classmethod
    def placeholders(cls, given: ValueType) -> dict[str, Any]:
        return {"min": 0.0, "max": 1.0}

    @classmethod
    def fit(cls, value: Value, parameters: dict[str, Any], target: Array | None) -> dict[str, Any]:
        x = finite(value.numbers(), "min and max")
        return {"min": float(x.min()), "max": float(x.max())} | parameters

    def constants(self) -> dict[str, float]:
        span = (self.max - self.min) or 1.0
        return {"min": self.min, "span": span, "stretch": self.high - self.low, "low": self.low, "high": self.high}

    def structure(self) -> tuple[Any, ...]:
        return (self.clip,)

    def compute(self, x: Numbers) -> Numbers:
        c = self.constants()
        y = (x - c["min"]) / c["span"] * c["stretch"] + c["low"]
        if self.clip:
            y = np.where(y < self.low, self.low, y)
            y = np.where(y > self.high, self.high, y)
        return y

    def operators(self, graph: GraphBuilder, x: str, constants: Mapping[str, str]) -> str:
        part = graph.node("Div", graph.node("Sub", x, constants["min"]), constants["span"])
        y = graph.node("Add", graph.node("Mul", part, constants["stretch"]), constants["low"])
        return limit(graph, y, constants["low"], constants["high"]) if self.clip else y

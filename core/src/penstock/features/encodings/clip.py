"""clip: hold a number between `min` and `max`, either of which may be left out. NaN stays NaN. Exact.

Built of comparisons: what ONNX's own Clip makes of NaN differs between runtimes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Elementwise, Numbers, Scope, require_numbers
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, ValueType


@dataclass(frozen=True, slots=True)
class Clip(Elementwise):
    """`clip: {min: 0, max: 100}`"""

    min: float | None = None
    max: float | None = None

    kind = "clip"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        require_numbers(p, given, cls.kind)
        low = p.number("min") if p.has("min") else None
        high = p.number("max") if p.has("max") else None
        if low is None and high is None:
            raise InvalidInput("expected min, max or both", field=p.path)
        if low is not None and high is not None and low > high:
            raise InvalidInput(f"expected at least min ({low:g}), got {high:g}", field=p.field("max"))
        return cls(low, high)

    def constants(self) -> dict[str, float]:
        return {name: bound for name, bound in (("min", self.min), ("max", self.max)) if bound is not None}

    def structure(self) -> tuple[Any, ...]:
        return (self.min is None, self.max is None)

    def compute(self, x: Numbers) -> Numbers:
        if self.min is not None:
            x = np.where(x < self.min, self.min, x)
        if self.max is not None:
            x = np.where(x > self.max, self.max, x)
        return x

    def operators(self, graph: GraphBuilder, x: str, constants: Mapping[str, str]) -> str:
        return limit(graph, x, constants.get("min"), constants.get("max"))


def limit(graph: GraphBuilder, x: str, low: str | None, high: str | None) -> str:
    """float64 held between two constants; a comparison with NaN is false, so NaN stays."""
    if low is not None:
        x = graph.node("Where", graph.node("Less", x, low), low, x)
    if high is not None:
        x = graph.node("Where", graph.node("Greater", x, high), high, x)
    return x

"""log1p: `ln(1 + x)`, accurate for tiny x too. -inf at -1, NaN below. Bound: 4 units in the last place of float64.

ONNX has no such operator, and `ln(1 + x)` as written loses all of x below 1e-16. With `u = 1 + x` rounded, `ln(u) * x / (u - 1)`
loses nothing: the error of u appears above and below (W. Kahan; D. Goldberg, "What every computer scientist should know about
floating-point arithmetic", theorem 4).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from penstock.features.encodings.encoding import Elementwise, Numbers, Scope, require_numbers
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, ValueType


@dataclass(frozen=True, slots=True)
class Log1p(Elementwise):
    """`log1p`"""

    kind = "log1p"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        require_numbers(p, given, cls.kind)
        return cls()

    def compute(self, x: Numbers) -> Numbers:
        return np.log1p(x)

    def operators(self, graph: GraphBuilder, x: str, constants: Mapping[str, str]) -> str:
        one = graph.constant(np.array([[1.0]]))
        u = graph.node("Add", x, one)
        rest = graph.node("Sub", u, one)
        exact = graph.node("Mul", graph.node("Log", u), graph.node("Div", x, rest))
        tiny = graph.node("Equal", rest, graph.constant(np.array([[0.0]])))
        huge = graph.node("Equal", x, graph.constant(np.array([[np.inf]])))
        return graph.node("Where", graph.node("Or", tiny, huge), x, exact)

"""robustScale: `(x - center) / scale`, in float64. Exact: graph and definition agree bit for bit.

Fitted: `center` is the median, `scale` the distance between the quantiles in `quantiles` (default the quartiles) of the finite
training values; 1 where that is 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Elementwise, Numbers, Scope, finite, require_numbers
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, Value, ValueType
from penstock.tensors import Array


@dataclass(frozen=True, slots=True)
class RobustScale(Elementwise):
    """`robustScale: {center: 3.0, scale: 1.5}`"""

    center: float
    scale: float

    kind = "robustScale"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        require_numbers(p, given, cls.kind)
        quantiles = p.numbers("quantiles", [0.25, 0.75])
        if len(quantiles) != 2 or not 0 <= quantiles[0] < quantiles[1] <= 1:
            raise InvalidInput("expected two numbers from 0 to 1, the lower first", field=p.field("quantiles"))
        return cls(p.number("center"), p.number("scale", above=0.0))

    @classmethod
    def placeholders(cls, given: ValueType) -> dict[str, Any]:
        return {"center": 0.0, "scale": 1.0}

    @classmethod
    def fit(cls, value: Value, parameters: dict[str, Any], target: Array | None) -> dict[str, Any]:
        x = finite(value.numbers(), "center and scale")
        low, high = np.quantile(x, parameters.get("quantiles", [0.25, 0.75]))
        return {"center": float(np.median(x)), "scale": float(high - low) or 1.0} | parameters

    def constants(self) -> dict[str, float]:
        return {"center": self.center, "scale": self.scale}

    def compute(self, x: Numbers) -> Numbers:
        return (x - self.center) / self.scale

    def operators(self, graph: GraphBuilder, x: str, constants: Mapping[str, str]) -> str:
        return graph.node("Div", graph.node("Sub", x, constants["center"]), constants["scale"])

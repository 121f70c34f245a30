"""standardise: `(x - mean) / std`, in float64. Exact: graph and definition agree bit for bit.

Fitted: `mean` and `std` (population) of the finite training values; a constant feature gets std 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from penstock.features.encodings.encoding import Elementwise, Numbers, Scope, finite, require_numbers
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, Value, ValueType
from penstock.tensors import Array


@dataclass(frozen=True, slots=True)
class Standardise(Elementwise):
    """`standardise: {mean: 6.5, std: 0.9}`"""

    mean: float
    std: float

    kind = "standardise"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        require_numbers(p, given, cls.kind)
        return cls(p.number("mean"), p.number("std", above=0.0))

    @classmethod
    def placeholders(cls, given: ValueType) -> dict[str, Any]:
        return {"mean": 0.0, "std": 1.0}

    @classmethod
    def fit(cls, value: Value, parameters: dict[str, Any], target: Array | None) -> dict[str, Any]:
        x = finite(value.numbers(), "mean and std")
        return {"mean": float(x.mean()), "std": float(x.std()) or 1.0} | parameters

    def constants(self) -> dict[str, float]:
        return {"mean": self.mean, "std": self.std}

    def compute(self, x: Numbers) -> Numbers:
        return (x - self.mean) / self.std

    def operators(self, graph: GraphBuilder, x: str, constants: Mapping[str, str]) -> str:
        return graph.node("Div", graph.node("Sub", x, constants["mean"]), constants["std"])

"""difference, product, ratio: arithmetic of this feature with another one's raw value, in float64. Exact.

`with` names the other feature; its missing-value policy applies first. A ratio with a denominator of 0 gives `zero` (default
NaN). Two timestamps differ in seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Encoding, Numbers, Scope, require_numbers
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType


@dataclass(frozen=True, slots=True)
class Pair(Encoding):
    """What the three have in common."""

    other: str

    operator: ClassVar[str]

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        require_numbers(p, given, cls.kind)
        other = p.text("with")
        other_type = scope.type_of(other, p.field("with"))
        if not other_type.numeric or other_type.shape != given.shape:
            raise InvalidInput(f"expected a feature of type {given}, {other} is {other_type}", field=p.field("with"))
        return cls(other)

    def needs(self) -> tuple[str, ...]:
        return (self.other,)

    def result(self, given: ValueType) -> ValueType:
        return ValueType("float64", given.shape)

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        return Value(self.compute(value.numbers(), others[self.other].numbers()))

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        name = graph.node(self.operator, graph.numbers(value), graph.numbers(others[self.other]))
        return GraphValue(name, self.result(value.type))

    def compute(self, x: Numbers, y: Numbers) -> Numbers:
        """The definition."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Difference(Pair):
    """`difference: {with: scheduled}`: this minus the other."""

    kind = "difference"
    operator = "Sub"

    def compute(self, x: Numbers, y: Numbers) -> Numbers:
        return x - y


@dataclass(frozen=True, slots=True)
class Product(Pair):
    """`product: {with: speed}`"""

    kind = "product"
    operator = "Mul"

    def compute(self, x: Numbers, y: Numbers) -> Numbers:
        return x * y


@dataclass(frozen=True, slots=True)
class Ratio(Pair):
    """`ratio: {with: seats, zero: 0}`: this divided by the other."""

    zero: float = np.nan

    kind = "ratio"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        pair = super(Ratio, cls).parse(p, given, scope)
        return cls(pair.other, p.number("zero", np.nan, finite=False))

    def compute(self, x: Numbers, y: Numbers) -> Numbers:
        return np.where(y == 0, self.zero, x / y)

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        y = graph.numbers(others[self.other])
        quotient = graph.node("Div", graph.numbers(value), y)
        is_zero = graph.node("Equal", y, graph.constant(np.array([[0.0]])))
        name = graph.node("Where", is_zero, graph.constant(np.array([[self.zero]])), quotient)
        return GraphValue(name, self.result(value.type))

"""cast: another numeric type, at this point of the chain. Exact.

To an integer: truncates towards zero; NaN becomes 0; what does not fit becomes the largest or smallest value of the type that
float64 holds too. To bool: everything but 0 is true, NaN included. Text is not cast: parsing numbers is not the encoder's matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Encoding, Scope, require_numbers
from penstock.features.parameters import Parameters
from penstock.features.value import NUMPY_KINDS, GraphBuilder, GraphValue, Value, ValueType

_TO = ("bool", "int32", "int64", "float32", "float64")
_LIMITS = {"int32": (-(2.0**31), 2.0**31 - 1), "int64": (-(2.0**63), float(2**63 - 1024))}


@dataclass(frozen=True, slots=True)
class Cast(Encoding):
    """`cast: {to: float32}`"""

    to: str

    kind = "cast"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        require_numbers(p, given, cls.kind)
        encoding = cls(p.choice("to", _TO))
        if given.masked and not encoding.to.startswith("float"):
            raise InvalidInput(
                f"a missing value has no {encoding.to}; give the feature a default, or cast to a float", field=p.field("to")
            )
        return encoding

    def result(self, given: ValueType) -> ValueType:
        return ValueType(self.to, given.shape)

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        x = value.array
        if value.missing is not None:
            x = value.numbers()
        if (self.to in _LIMITS and x.dtype.kind == "f") or (self.to == "int32" and x.dtype == np.int64):
            low, high = _LIMITS[self.to]
            x = np.trunc(x.astype(np.float64))
            x = np.where(np.isnan(x), 0.0, x)
            x = np.where(x < low, low, np.where(x > high, high, x))
        return Value(x.astype(NUMPY_KINDS[self.to]))

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        result = self.result(value.type)
        given = value.type.kind
        if value.missing is not None:
            return GraphValue(graph.cast(graph.numbers(value), self.to), result)
        if (self.to in _LIMITS and given.startswith("float")) or (self.to, given) == ("int32", "int64"):
            return GraphValue(self._truncate(graph, graph.cast(value.name, "float64")), result)
        if self.to == "bool" and given.startswith("float"):
            zero = graph.constant(np.array([[0]], NUMPY_KINDS[given]))
            return GraphValue(graph.node("Not", graph.node("Equal", value.name, zero)), result)
        return GraphValue(graph.cast(value.name, self.to), result)

    def _truncate(self, graph: GraphBuilder, x: str) -> str:
        zero = graph.constant(np.array([[0.0]]))
        low, high = (graph.constant(np.array([[bound]])) for bound in _LIMITS[self.to])
        x = graph.node("Where", graph.node("IsNaN", x), zero, x)
        x = graph.node("Where", graph.node("Less", x, low), low, x)
        x = graph.node("Where", graph.node("Greater", x, high), high, x)
        return graph.cast(x, self.to)

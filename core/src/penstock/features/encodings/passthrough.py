"""passthrough: the value as it is. `encode` left out means the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from penstock.features.encodings.encoding import Encoding, Scope
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType


@dataclass(frozen=True, slots=True)
class Passthrough(Encoding):
    """`passthrough`"""

    kind = "passthrough"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        return cls()

    def result(self, given: ValueType) -> ValueType:
        return given

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        return value

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        return value

"""tfIdf: counts weighed by how rare each n-gram is, then brought to length 1. Bound: 1e-6 of float32.

Behind ngramCounts, for each column: count (or 1 + ln count with `sublinear: true`; 0 stays 0) times `idf`; then the row is
divided by its Euclidean length (`norm: l2`, the default), by the sum of its absolute values (`l1`) or by nothing (`none`); a
row of zeros stays zeros. Computed in float64. Fitted: `idf` = ln((1 + rows) / (1 + rows with the n-gram)) + 1, as
scikit-learn's TfidfTransformer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Encoding, Numbers, Scope
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType
from penstock.tensors import Array


@dataclass(frozen=True, slots=True)
class TfIdf(Encoding):
    """`tfIdf: {idf: [1.0, 2.3], sublinear: false, norm: l2}`"""

    idf: tuple[float, ...]
    sublinear: bool
    norm: str

    kind = "tfIdf"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        if not given.numeric or len(given.shape) != 1 or given.listed:
            raise InvalidInput(f"tfIdf needs the columns of ngramCounts, this feature is {given} here", field=p.path)
        idf = p.numbers("idf", least=1)
        if len(idf) != given.width:
            raise InvalidInput(f"expected {given.width} numbers, one a column, got {len(idf)}", field=p.field("idf"))
        return cls(idf, p.flag("sublinear"), p.choice("norm", ("l2", "l1", "none"), "l2"))

    @classmethod
    def placeholders(cls, given: ValueType) -> dict[str, Any]:
        return {"idf": [1.0] * given.width}

    @classmethod
    def fit(cls, value: Value, parameters: dict[str, Any], target: Array | None) -> dict[str, Any]:
        counts = value.numbers()
        if not len(counts):
            raise InvalidInput("no training values to count in")
        present = (counts > 0).sum(axis=0)
        return {"idf": (np.log((1 + len(counts)) / (1 + present)) + 1).tolist()} | parameters

    def result(self, given: ValueType) -> ValueType:
        return ValueType("float32", given.shape)

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        counts: Numbers = value.numbers()
        if self.sublinear:
            counts = np.where(counts > 0, np.log(np.where(counts > 0, counts, 1)) + 1, counts)
        weighed = counts * np.array(self.idf)
        if self.norm != "none":
            squared = (weighed**2).sum(axis=1, keepdims=True)
            length = np.sqrt(squared) if self.norm == "l2" else np.abs(weighed).sum(axis=1, keepdims=True)
            weighed = weighed / np.where(length == 0, 1, length)
        return Value(weighed.astype(np.float32))

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        counts = graph.numbers(value)
        if self.sublinear:
            one = graph.constant(np.array([[1.0]]))
            some = graph.node("Greater", counts, graph.constant(np.array([[0.0]])))
            logarithm = graph.node("Log", graph.node("Where", some, counts, one))
            counts = graph.node("Where", some, graph.node("Add", logarithm, one), counts)
        weighed = graph.node("Mul", counts, graph.constant(np.array(self.idf).reshape(-1, 1)))
        if self.norm != "none":
            sizes = graph.node("Mul", weighed, weighed) if self.norm == "l2" else graph.node("Abs", weighed)
            length = graph.node("ReduceSum", sizes, graph.constant(np.array([0])), keepdims=1)
            length = graph.node("Sqrt", length) if self.norm == "l2" else length
            nothing = graph.node("Equal", length, graph.constant(np.array([[0.0]])))
            weighed = graph.node("Div", weighed, graph.node("Where", nothing, graph.constant(np.array([[1.0]])), length))
        return GraphValue(graph.cast(weighed, "float32"), self.result(value.type))

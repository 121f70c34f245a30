"""What every encoding is: parameters that have been checked, a definition in numpy, and the same as ONNX operators.

    features.yaml --parse--> Encoding --apply--> numpy (the definition)
                                      --build--> graph (what runs)      fit: training values -> the parameters that were left out

An encoding never sees a wrong type or parameter: `parse` refuses both, naming the field. `apply` and `build` must agree bit for
bit where the arithmetic is exact (but for the sign of zero, which ONNX Runtime's Where loses), else within the bound that the
encoding's module states; property tests hold them to it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from penstock.errors import InvalidInput
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType
from penstock.tensors import Array

Numbers = npt.NDArray[np.float64]


class Scope(Protocol):
    """What a step may know of the rest of the spec."""

    def type_of(self, feature: str, field: str) -> ValueType:
        """The raw type of another feature. Raises InvalidInput at `field` if there is none."""


class Encoding(ABC):
    """One step of a feature's encoding. Subclasses are frozen dataclasses in modules named after their kind."""

    kind: ClassVar[str]
    # Whether `fit` learns from the training target; the others are not shown it.
    needs_target: ClassVar[bool] = False
    # Whether it makes of a whole list what is no list any more; it is then given the list's length.
    consumes_list: ClassVar[bool] = False
    # Whether it runs before the graph, first among its feature's steps: what operators cannot do.
    before_graph: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        """Check parameters against the type that arrives. Raises InvalidInput naming the field."""

    @abstractmethod
    def result(self, given: ValueType) -> ValueType:
        """The type that leaves."""

    @abstractmethod
    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        """The definition. `others` holds the raw values (defaults in place) of the features that `needs` names."""

    @abstractmethod
    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        """The same as operators."""

    def needs(self) -> tuple[str, ...]:
        """Names of other features whose raw values this one reads."""
        return ()

    @classmethod
    def placeholders(cls, given: ValueType) -> dict[str, Any]:
        """Parameters that `fit` computes, with stand-ins of the right type: what a draft spec may leave out."""
        return {}

    @classmethod
    def fit(cls, value: Value, parameters: dict[str, Any], target: Array | None) -> dict[str, Any]:
        """The parameters with those that were left out computed from training values. Raises InvalidInput if there are none to
        learn from.
        """
        return parameters


class Elementwise(Encoding):
    """An encoding of single numbers, the same for each: float64 in, float64 out, NaN stays NaN.

    Neighbouring features with the same chain of these share their operators: the graph computes on `[features, rows]` with a
    column of constants. `structure` holds the parameters that change which operators are needed; `constants` the numbers.
    """

    def result(self, given: ValueType) -> ValueType:
        return ValueType("float64", given.shape)

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        return Value(self.compute(value.numbers()))

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        return GraphValue(build_together(graph, graph.numbers(value), [self], value.type.width), self.result(value.type))

    @abstractmethod
    def compute(self, x: Numbers) -> Numbers:
        """The definition, on any shape."""

    @abstractmethod
    def operators(self, graph: GraphBuilder, x: str, constants: Mapping[str, str]) -> str:
        """The operators on `[features, rows]`, with the names of the constants."""

    def constants(self) -> dict[str, float]:
        """The numbers that differ between features of one group."""
        return {}

    def structure(self) -> tuple[Any, ...]:
        """What features of one group must have in common."""
        return ()


def build_together(graph: GraphBuilder, x: str, members: list[Elementwise], width: int = 1) -> str:
    """The operators of one step for several features at once, `x` float64 `[members, rows]`; `[width, rows]` for a single one."""
    columns = {name: np.array([[m.constants()[name]] for m in members], np.float64) for name in members[0].constants()}
    if len(members) > 1 or not any(_looks_idle(column) for column in columns.values()):
        return members[0].operators(graph, x, {name: graph.constant(column) for name, column in columns.items()})
    rows = max(width, 2)
    wide = {name: graph.constant(np.repeat(column, rows, axis=0)) for name, column in columns.items()}
    result = members[0].operators(graph, x if width > 1 else graph.node("Concat", x, x, axis=0), wide)
    return result if width > 1 else graph.node("Gather", result, graph.constant(np.array([0])), axis=0)


def _looks_idle(column: Array) -> bool:
    """Whether ONNX Runtime would take a single constant for 0 or 1, and leave out the operator: it looks at the float32 of a
    float64.

    Constants of several elements are left alone, so such a step is computed on a copy more.
    """
    return bool(np.isin(column.astype(np.float32), (0, 1)).any() and not np.isin(column, (0, 1)).any())


def require_numbers(p: Parameters, given: ValueType, kind: str) -> None:
    """Raises InvalidInput if the values that arrive are not numbers."""
    if not given.numeric:
        raise InvalidInput(f"{kind} needs numbers, this feature is {given} here", field=p.path)


def finite(x: Numbers, what: str) -> Numbers:
    """The finite ones of training values, flattened. Raises InvalidInput if there are none."""
    values = x[np.isfinite(x)]
    if not values.size:
        raise InvalidInput(f"no finite training values to compute {what} from")
    return values

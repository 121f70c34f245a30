"""What flows between the encodings of a feature: in numpy (`Value`), as a type (`ValueType`), and in a graph (`GraphValue`).

The numpy definition works row by row: `[rows]` for one number a row, `[rows, width]` for several. The graph works on the
transpose, `[width, rows]`: features then join along the first axis without copies of single numbers, and one transpose at the end
makes the model's tensor.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from penstock.tensors import Array

Kind = Literal["string", "bool", "int32", "int64", "float32", "float64", "uint8"]

NUMPY_KINDS: dict[str, np.dtype[Any]] = {
    "string": np.dtype(object),
    "bool": np.dtype(np.bool_),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "float16": np.dtype(np.float16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "uint8": np.dtype(np.uint8),
}


@dataclass(frozen=True, slots=True)
class ValueType:
    """`kind` of the elements; `shape` of one row: `()` for one value, `(width,)` for several, `(height, width, channels)` and the
    like for images, -1 for an axis as long as each batch needs; `masked`: a mask of missing values travels beside them (never for
    floats, whose NaN says it); `listed`: the one axis is the places of a list, padded.
    """

    kind: str
    shape: tuple[int, ...] = ()
    masked: bool = False
    timestamp: bool = False
    listed: bool = False

    @property
    def numeric(self) -> bool:
        """Whether arithmetic means something."""
        return self.kind not in ("string", "uint8")

    @property
    def width(self) -> int:
        """The number of columns that a row of this takes in a tensor."""
        return self.shape[0] if self.shape else 1

    def __str__(self) -> str:
        return f"{self.kind}{list(self.shape) if self.shape else ''}"


@dataclass(slots=True)
class Value:
    """A feature's values over rows, in numpy; `missing` is bool `[rows]` or None when nothing can be missing. `inside` is bool
    `[rows, width]` for lists: which places the list has, the rest is padding.
    """

    array: Array
    missing: npt.NDArray[np.bool_] | None = None
    inside: npt.NDArray[np.bool_] | None = None

    def numbers(self) -> npt.NDArray[np.float64]:
        """As float64, NaN where missing."""
        if self.missing is None:
            return self.array.astype(np.float64)
        mask = self.missing.reshape(-1, *(1,) * (self.array.ndim - 1))
        return np.where(mask, np.nan, self.array.astype(np.float64))


@dataclass(frozen=True, slots=True)
class GraphValue:
    """A feature's values in a graph: the name of a tensor `[width, rows]` (images: `[rows, …]`), its type, the name of the mask
    `[1, rows]` where the type is masked, and of `inside` `[width, rows]` for lists on their way into a step that consumes them.
    """

    name: str
    type: ValueType
    missing: str | None = None
    inside: str | None = None


class GraphBuilder(Protocol):
    """Where encodings put their operators. The compiler implements it; encodings never import onnx.

    Constants with equal bytes are stored once. Only operators of the pinned opset may be used (`penstock.features.compiler`).
    """

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output; the output's name."""

    def constant(self, array: Array) -> str:
        """A constant's name. The array's dtype is the tensor's; object arrays of str are strings."""

    def cast(self, name: str, kind: str) -> str:
        """The tensor with elements of another numeric kind."""

    def numbers(self, value: GraphValue) -> str:
        """A numeric value as float64 `[width, rows]`, NaN where missing."""

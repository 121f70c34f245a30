"""Columns: one feature's values over the rows of a batch, with what is missing beside them.

Stored and requested features both become columns before they are encoded; the encoder's inputs are made from nothing else.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.tensors import Array

# The types a raw feature can have, and the dtype of its column. `timestamp` is seconds since the epoch, UTC, as float64;
# `image` is the undecoded bytes. A list type is `list<float32>` and so on: an object array of 1-d arrays.
FEATURE_DTYPES: dict[str, np.dtype[Any]] = {
    "string": np.dtype(object),
    "bool": np.dtype(np.bool_),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "timestamp": np.dtype(np.float64),
    "image": np.dtype(object),
}


@dataclass(slots=True)
class Column:
    """`values` is `[rows]` of the feature's dtype; `missing` is bool `[rows]`, True where there is no value.

    Where `missing` is True the value is a placeholder (NaN, 0, False, ""). NaN in a float column counts as missing.
    """

    values: Array
    missing: npt.NDArray[np.bool_]

    def to_list(self) -> list[Any]:
        """Python values, None where missing."""
        if not self.missing.any():
            return self.values.tolist()  # type: ignore[no-any-return]
        return [None if gone else value for value, gone in zip(self.values.tolist(), self.missing.tolist(), strict=True)]

    def without(self, gone: npt.NDArray[np.bool_]) -> "Column":
        """A copy that has no value where `gone` is True, whatever stood there."""
        values = self.values.copy()
        values[gone] = np.nan if values.dtype.kind == "f" else _no_object(values) if values.dtype.kind == "O" else 0
        return Column(values, self.missing | gone)


def _no_object(values: Array) -> Any:
    """The placeholder of a column of text, bytes or lists, by what it holds."""
    held = values[0] if len(values) else ""
    if isinstance(held, np.ndarray):
        # Assigned through a 0-d object array: numpy would spread an array's elements over the places.
        empty = np.empty((), object)
        empty[()] = held[:0]
        return empty
    return held[:0] if isinstance(held, str | bytes) else None

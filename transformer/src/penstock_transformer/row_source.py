"""The rows of a batch's callers, one after another, seen as columns.

    callers (lists of dicts, or arrays by name) -> RowSource -> Python values (keys) and Columns (features)

Most callers send one row as a dict: their rows are simply joined, and a column is one list comprehension. A caller who sent
arrays keeps them as arrays, so that bulk never becomes Python objects. A column that is not of its feature's type is refused
with the row's place among all rows here; whoever needs the caller's own place asks again with that caller alone.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.spec import Feature
from penstock.features.values import column_from_array, column_of
from penstock.tensors import Array
from penstock_transformer.nearest import did_you_mean
from penstock_transformer.requests import Row


class RowSource:
    """Rows of one or more callers; `count` of them. Give each caller's `rows`, or its `columns` and their length."""

    __slots__ = ("_parts", "count")

    def __init__(self, parts: Sequence[list[Row] | dict[str, Array]], counts: Sequence[int]) -> None:
        self.count = sum(counts)
        self._parts: list[tuple[list[Row] | dict[str, Array], int]] = []
        joined: list[Row] = []
        for part, count in zip(parts, counts, strict=True):
            if isinstance(part, list):
                joined += part
                continue
            if joined:
                self._parts.append((joined, len(joined)))
                joined = []
            self._parts.append((part, count))
        if joined:
            self._parts.append((joined, len(joined)))

    def values(self, name: str) -> list[Any]:
        """One column as Python values, None where a row does not have it."""
        if len(self._parts) == 1:
            return _values(*self._parts[0], name)
        return [value for part, count in self._parts for value in _values(part, count, name)]

    def column(self, feature: Feature) -> Column:
        """A feature's column `[count]`. Raises InvalidInput, field `rows[i].name`, for a value that is not of its type."""
        parts = self._parts
        if len(parts) == 1:
            return _column(*parts[0], feature)
        array = self._joined(feature.column)
        if array is not None:
            return column_from_array(array, feature.type, feature.column, length=feature.length)
        columns = [_column(part, count, feature) for part, count in parts]
        return Column(np.concatenate([c.values for c in columns]), np.concatenate([c.missing for c in columns]))

    def _joined(self, name: str) -> Array | None:
        """One array of all callers, if each sent one of the same kind: a column is then made once, not once a caller."""
        arrays: list[Array] = []
        for part, _ in self._parts:
            array = part.get(name) if isinstance(part, dict) else None
            if array is None or array.ndim != 1 or (arrays and array.dtype != arrays[0].dtype):
                return None
            arrays.append(array)
        return np.concatenate(arrays)


def _values(part: list[Row] | dict[str, Array], count: int, name: str) -> list[Any]:
    if isinstance(part, list):
        return [row.get(name) for row in part]
    array = part.get(name)
    if array is None:
        return [None] * count
    return [None if v != v else v.decode() if type(v) is bytes else v for v in array.tolist()]


def _column(part: list[Row] | dict[str, Array], count: int, feature: Feature) -> Column:
    name = feature.column
    if isinstance(part, list):
        return column_of([row.get(name) for row in part], feature.type, name, length=feature.length)
    array = part.get(name)
    if array is None:
        return column_of([None] * count, feature.type, name, length=feature.length)
    return column_from_array(array, feature.type, name, length=feature.length)


def check_names(names: Iterable[str], accepted: frozenset[str], stored: dict[str, str], where: str) -> None:
    """Refuse names that a row may not hold. `stored` maps a stored feature to where it is read, for the message."""
    for name in names:
        if name in accepted:
            continue
        field = f"{where}{name}"
        if name in stored:
            raise InvalidInput(f"this feature is read from the store ({stored[name]}), not from the request", field=field)
        raise InvalidInput(f"unknown feature; {did_you_mean(name, accepted)}", field=field)

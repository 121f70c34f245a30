"""Feast's value types: which field of its Value message holds each, and what a column of it looks like here.

    name in a ViewLayout ("int64", "list<string>", "map" …) -> ValueType (field number, form, column dtype)

A type that is not in this table is refused by name when a layout is opened, never when a value is met.
Source: feast/protos/feast/types/Value.proto of Feast 0.67.

| type | value in a column |
|---|---|
| float, double, int32, int64, bool | a number of that dtype |
| unix_timestamp, zoned_timestamp | seconds since the epoch, float64 (the zone of the latter is not a feature) |
| string, uuid, time_uuid, decimal, json | str, as stored |
| bytes, pdf_bytes, image_bytes | bytes |
| list<…>, set<…> of those | 1-d array of the element's dtype |
| map, struct, scalar_map; list<map>, list<struct>; list<value>, set<value> | dict; list of dict; list of values |
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from penstock.errors import InvalidInput

Form = Literal["scalar", "list", "map", "maps", "values", "scalar_map"]

OBJECT = np.dtype(object)
# What Feast writes for a missing timestamp: NaT as nanoseconds.
NULL_TIMESTAMP = -(2**63)


@dataclass(frozen=True, slots=True)
class ValueType:
    """One value type. `kind` is its element's scalar kind: bytes, string, int32, int64, double, float, bool, timestamp, zoned;
    `dtype` that of a column of it (object for everything that is not a number)."""

    name: str
    number: int
    form: Form
    kind: str
    dtype: np.dtype[Any]

    @property
    def placeholder(self) -> Any:
        """What stands in a column where there is no value."""
        if self.dtype.kind == "f":
            return np.nan
        if self.dtype.kind != "O":
            return self.dtype.type(0)
        if self.form == "list":
            return np.empty(0, ELEMENT_DTYPES[self.kind])
        return {"bytes": b"", "string": ""}.get(self.kind) if self.form == "scalar" else None


ELEMENT_DTYPES: dict[str, np.dtype[Any]] = {
    "bytes": OBJECT,
    "string": OBJECT,
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "double": np.dtype(np.float64),
    "float": np.dtype(np.float32),
    "bool": np.dtype(np.bool_),
    "timestamp": np.dtype(np.float64),
    "zoned": np.dtype(np.float64),
}

# name: (kind, field of one, of a list, of a set)
_SCALARS: dict[str, tuple[str, int, int | None, int | None]] = {
    "bytes": ("bytes", 1, 11, 22),
    "string": ("string", 2, 12, 23),
    "int32": ("int32", 3, 13, 24),
    "int64": ("int64", 4, 14, 25),
    "double": ("double", 5, 15, 26),
    "float": ("float", 6, 16, 27),
    "bool": ("bool", 7, 17, 28),
    "unix_timestamp": ("timestamp", 8, 18, 29),
    "pdf_bytes": ("bytes", 1, None, None),
    "image_bytes": ("bytes", 1, None, None),
    "json": ("string", 32, 33, None),
    "uuid": ("string", 36, 38, 40),
    "time_uuid": ("string", 37, 39, 41),
    "decimal": ("string", 44, 45, 46),
    "zoned_timestamp": ("zoned", 48, None, None),
}
_NULL_NUMBER = 19


def _table() -> dict[str, ValueType]:
    types = [
        ValueType("map", 20, "map", "", OBJECT),
        ValueType("list<map>", 21, "maps", "", OBJECT),
        ValueType("struct", 34, "map", "", OBJECT),
        ValueType("list<struct>", 35, "maps", "", OBJECT),
        ValueType("list<value>", 42, "values", "", OBJECT),
        ValueType("set<value>", 43, "values", "", OBJECT),
        ValueType("scalar_map", 47, "scalar_map", "", OBJECT),
    ]
    for name, (kind, one, several, distinct) in _SCALARS.items():
        types.append(ValueType(name, one, "scalar", kind, ELEMENT_DTYPES[kind]))
        if several is not None:
            types.append(ValueType(f"list<{name}>", several, "list", kind, OBJECT))
        if distinct is not None:
            types.append(ValueType(f"set<{name}>", distinct, "list", kind, OBJECT))
    return {one.name: one for one in types}


VALUE_TYPES: dict[str, ValueType] = _table()
# The type that a field of the Value message stands for when no layout says so: values within maps.
TYPE_OF_NUMBER: dict[int, ValueType] = {
    t.number: t for t in reversed(VALUE_TYPES.values()) if not t.name.startswith(("pdf_", "image_"))
}
NULL_NUMBER = _NULL_NUMBER


def value_type(name: str, field: str) -> ValueType:
    """The value type of that name. Raises InvalidInput naming `field` for one that is not read here."""
    found = VALUE_TYPES.get(name)
    if found is None:
        raise InvalidInput(f"values of type {name!r} are not supported; known are {', '.join(sorted(VALUE_TYPES))}", field=field)
    return found

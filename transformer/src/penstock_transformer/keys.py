"""Entity keys of a batch: distinct ones to read, and which of them each row belongs to.

    columns of key values (one list per join key) -> EntityKeys (distinct tuples, place of each row among them)

Values are checked here against the join keys' types, so that the store never sees a key that one careless caller sent and fails
the whole read. A row without a key (absent or null) belongs to no entity: its stored features are missing, and the spec's policy
decides what that means.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.tensors import Array
from penstock_transformer.store.port import SetColumns

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int32": (int,),
    "int64": (int,),
    "bool": (bool,),
    "bytes": (bytes,),
    "unix_timestamp": (int, float),
    "float": (float, int),
    "double": (float, int),
}
_WHOLE = re.compile(r" *-?[0-9]{1,30} *")
_INT_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


@dataclass(slots=True)
class EntityKeys:
    """`distinct` keys in order of first appearance; `index` is intp `[rows]`, -1 for a row without a key, or None when row i has
    distinct key i (the usual case, which then costs no copying)."""

    distinct: list[tuple[Any, ...]]
    index: npt.NDArray[np.intp] | None

    def spread(self, answer: SetColumns, types: Mapping[str, str]) -> SetColumns:
        """The store's answer, one row per key, as one row per row of the batch. `types`: the stored type of each column."""
        index = self.index
        if index is None:
            return answer
        absent = index < 0
        if not len(self.distinct):
            rows = len(index)
            gone = np.ones(rows, np.bool_)
            columns = {name: Column(_placeholders(c.values, rows, types[name]), gone) for name, c in answer.columns.items()}
            return SetColumns(columns, np.full(rows, np.nan))
        times = answer.event_times[index]
        columns = {name: Column(c.values[index], c.missing[index]) for name, c in answer.columns.items()}
        if absent.any():
            # Index -1 took the last key's values, which are another row's.
            times[absent] = np.nan
            columns = {name: column.without(absent) for name, column in columns.items()}
        return SetColumns(columns, times)


def _placeholders(values: Array, rows: int, stored_type: str) -> Array:
    """Rows of no value, of the same dtype as `values`."""
    kind = values.dtype.kind
    made = np.full(rows, np.nan if kind == "f" else "" if kind == "O" else 0, values.dtype)
    if stored_type.startswith(("list<", "set<")):
        # One by one: numpy would look inside of a list of arrays.
        for row in range(rows):
            made[row] = np.empty(0)
    return made


def entity_keys(values: Sequence[list[Any]], names: tuple[str, ...], types: tuple[str, ...]) -> EntityKeys:
    """The keys of rows whose join key columns are `values`. Raises InvalidInput, field `rows[i].name`, for a wrong type."""
    for column, name, key_type in zip(values, names, types, strict=True):
        _check(column, name, key_type)
    rows = len(values[0])
    single = len(values) == 1
    keys: Sequence[Any] = values[0] if single else list(zip(*values, strict=True))
    # The usual batch: every row has a key of its own. Found out without a loop in Python.
    places: dict[Any, int | None] = dict.fromkeys(keys)
    whole = None not in places if single else not any(None in column for column in values)
    if whole and len(places) == rows:
        return EntityKeys([(key,) for key in keys] if single else list(keys), None)
    for key in [k for k in places if k is None or (not single and None in k)]:
        del places[key]
    places = {key: place for place, key in enumerate(places)}
    distinct = [(key,) for key in places] if single else list(places)
    return EntityKeys(distinct, np.array([places.get(key, -1) for key in keys], np.intp))


def _check(column: list[Any], name: str, key_type: str) -> None:
    allowed = _PYTHON_TYPES.get(key_type)
    if allowed is None:
        raise InvalidInput(f"keys of type {key_type} are not supported", field=name)
    kinds = set(map(type, column))
    kinds.discard(type(None))
    if not kinds.issubset(allowed):
        row = next(i for i, value in enumerate(column) if value is not None and type(value) not in allowed)
        raise InvalidInput(f"expected a key of type {key_type}, got {type(column[row]).__name__}", field=f"rows[{row}].{name}")
    if key_type == "unix_timestamp":
        _check_seconds(column, name)
        return
    limits = _INT_RANGES.get(key_type)
    if limits is None:
        return
    low, high = limits
    given = column if None not in column else [value for value in column if value is not None]
    if not given or (low <= min(given) and max(given) <= high):
        return
    for row, value in enumerate(column):
        if value is not None and not low <= value <= high:
            raise InvalidInput(f"{value} does not fit {key_type}", field=f"rows[{row}].{name}")


def _check_seconds(column: list[Any], name: str) -> None:
    """A time is a key by its whole seconds; a fraction would be another key than the one that was meant."""
    low, high = _INT_RANGES["int64"]
    for row, value in enumerate(column):
        if value is not None and not (low <= value <= high and value == value // 1):
            raise InvalidInput(f"expected whole seconds since the epoch, got {value}", field=f"rows[{row}].{name}")


def key_from_text(text: str, key_type: str, name: str) -> Any:
    """A key out of a path or a CSV field. Raises InvalidInput if the text is not of the key's type."""
    if key_type == "string":
        return text
    if key_type in _INT_RANGES:
        # Python's own reading takes 1_000 and the digits of every script for numbers, which nobody means as an id.
        if not _WHOLE.fullmatch(text):
            raise InvalidInput(f"expected a whole number, got {text[:40]!r}", field=name)
        value = int(text)
        low, high = _INT_RANGES[key_type]
        if not low <= value <= high:
            raise InvalidInput(f"{text[:40]} does not fit {key_type}", field=name)
        return value
    raise InvalidInput(f"keys of type {key_type} cannot be written as text", field=name)

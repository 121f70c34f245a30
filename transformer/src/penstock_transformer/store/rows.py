"""Rows of an SQL online store, one per key and feature, turned into rows per key.

    (entity_key, feature_name, value, event time) … -> pivot -> [key][feature] bytes, event times

An entity's event time is that of its oldest value among those asked for: a write of some features must not make the others fresh.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.errors import InvalidInput
from penstock_transformer.store.column_reading import Stored
from penstock_transformer.store.port import RowWrite
from penstock_transformer.store.value_reading import read_value
from penstock_transformer.store.view import View, event_time_of

# Feast keeps a text beside values of the plain types only: fields 2 to 7 of its Value message.
_SEARCHED = frozenset({"string", "int32", "int64", "float", "double", "bool"})
_LAST_PLAIN_NUMBER = 7

StoredRow = tuple[bytes, str, bytes | None, float]


def pivot(
    found: Iterable[StoredRow], keys: Sequence[bytes], names: tuple[str, ...]
) -> tuple[list[list[Stored]], npt.NDArray[np.float64]]:
    """`[keys][names]` of stored bytes, None where absent; event times `[keys]` in seconds, NaN for keys that are not held."""
    width = len(names)
    rows: list[list[Stored]] = [[None] * width for _ in keys]
    times = [np.inf] * len(keys)
    place_of = {key: place for place, key in enumerate(keys)}
    column_of = {name: place for place, name in enumerate(names)}
    for key, name, value, time in found:
        place = place_of[key]
        column = column_of.get(name)
        if column is not None:
            rows[place][column] = value
        elif width:
            continue
        if time < times[place]:
            times[place] = time
    event_times = np.array(times, np.float64)
    event_times[np.isinf(event_times)] = np.nan
    if len(place_of) != len(keys):
        # The same key asked for twice: the dict kept its last place.
        for place, key in enumerate(keys):
            rows[place] = rows[place_of[key]]
            event_times[place] = event_times[place_of[key]]
    return rows, event_times


@dataclass(frozen=True, slots=True)
class StoredWrite:
    """A row on its way into an SQL store. `values`: feature, bytes, and what Feast puts beside them to search: text, number."""

    view: View
    key: bytes
    values: list[tuple[str, bytes, str | None, float | None]]
    event_time: float


def stored_write(view: View, row: RowWrite) -> StoredWrite:
    """A row as an SQL store keeps it. Raises InvalidInput naming the feature or key that is wrong."""
    values = []
    for name, data in view.values(row).items():
        kind = view.type_of(name)
        text, number = None, None
        if data and kind.form == "scalar" and kind.kind in _SEARCHED and kind.number <= _LAST_PLAIN_NUMBER:
            value = read_value(data, kind)
            text = str(value)
            number = None if kind.kind == "string" else float(value)
        values.append((name, data, text, number))
    return StoredWrite(view, view.codec.encode([row.key])[0], values, event_time_of(row))


def cursor_bytes(cursor: str | None) -> bytes:
    """The key behind which a scan goes on. Raises InvalidInput for a cursor that no scan gave out."""
    try:
        return bytes.fromhex(cursor or "")
    except ValueError:
        raise InvalidInput("expected a cursor of an earlier page", field="cursor") from None


def decoded(view: View, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
    """Serialised keys as tuples; what cannot be a key of this view is left out."""
    found = [view.codec.decode(key) for key in keys]
    return [one[0] for one in found if one is not None]


def rounds(keys: Sequence[tuple[str, bytes]]) -> list[list[int]]:
    """Places of `keys` such that no round holds one twice, in order: what one statement may write at once."""
    seen: dict[tuple[str, bytes], int] = {}
    out: list[list[int]] = []
    for place, key in enumerate(keys):
        turn = seen.get(key, 0)
        seen[key] = turn + 1
        if turn == len(out):
            out.append([])
        out[turn].append(place)
    return out

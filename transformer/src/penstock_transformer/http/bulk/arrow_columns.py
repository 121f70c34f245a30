"""Columns of an Arrow record batch as numpy arrays, a slice of rows at a time.

Only numpy looks at values: offsets and indices of a batch are whatever its sender wrote, and a slice or an index of numpy's that
leaves the data is an error where a read in C would be a fault. A missing value is NaN, NaT or None.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from penstock.errors import InvalidInput
from penstock.tensors import Array
from penstock_transformer.http.bulk.arrow_batches import ArrowColumn, ArrowField

_NUMBERS = {
    "c": "i1",
    "C": "u1",
    "s": "i2",
    "S": "u2",
    "i": "i4",
    "I": "u4",
    "l": "i8",
    "L": "u8",
    "e": "f2",
    "f": "f4",
    "g": "f8",
}
_TIMES = {"tss": "s", "tsm": "ms", "tsu": "us", "tsn": "ns"}
_DATES = {"tdD": ("i4", "D"), "tdm": ("i8", "ms")}
_SMALL_DICTIONARY = 1024
_MOST_NULLS = 1 << 20
_TEXT = {"u": "i4", "U": "i8", "z": "i4", "Z": "i8"}

INTEGERS, FLOATS = frozenset("cCsSiIlL"), frozenset("efg")


def family_of(schema: ArrowField) -> str:
    """What a column holds: integer, float, bool, text, bytes, time, list, null; or the format itself for what is not read."""
    form: str = schema.format
    if schema.dictionary is not None:
        return family_of(schema.dictionary)
    if form in INTEGERS:
        return "integer"
    if form in FLOATS:
        return "float"
    if form[:3] in _TIMES or form in _DATES:
        return "time"
    if form in ("+l", "+L") or form.startswith("+w:"):
        return "list"
    return {"b": "bool", "u": "text", "U": "text", "z": "bytes", "Z": "bytes", "n": "null"}.get(form, form)


def values_of(array: ArrowColumn, start: int, stop: int, name: str) -> Array:
    """Rows `start` to `stop` of a column `[rows]`; lists of one length are `[rows, length]`. Raises InvalidInput naming it."""
    try:
        return _values(array, start, stop)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError):
        raise InvalidInput("the column's buffers do not fit together, or its text is not UTF-8", field=name) from None


def _values(array: ArrowColumn, start: int, stop: int) -> Array:
    form: str = array.schema.format
    missing = _missing(array, start, stop)
    if array.dictionary is not None:
        indices = _buffer(array, 1, np.dtype(f"<{_NUMBERS[form]}"), start, stop).astype(np.int64)
        return _gaps(_words(array.dictionary, indices, missing), missing)
    if form in _NUMBERS:
        return _gaps(_buffer(array, 1, np.dtype(f"<{_NUMBERS[form]}"), start, stop), missing)
    if form == "b":
        return _gaps(_bits(array.buffers[1], start, stop), missing)
    if form[:3] in _TIMES:
        return _gaps(_buffer(array, 1, np.dtype("<i8"), start, stop).view(f"<M8[{_TIMES[form[:3]]}]"), missing)
    if form in _DATES:
        width, unit = _DATES[form]
        return _gaps(_buffer(array, 1, np.dtype(f"<{width}"), start, stop).astype("<i8").view(f"<M8[{unit}]"), missing)
    if form in _TEXT:
        return _texts(array, np.dtype(f"<{_TEXT[form]}"), form in "uU", start, stop, missing)
    if form[0] == "+":
        return _lists(array, form, start, stop, missing)
    # Values that take no bytes: a list of them is as long as its sender says.
    if stop - start > _MOST_NULLS:
        raise ValueError("too many")
    return np.full(stop - start, None, object)


def _words(dictionary: ArrowColumn, indices: Array, missing: Array | None) -> Array:
    """What the indices stand for; anything where the value is missing. A large dictionary is read only where it is pointed at: it
    comes once, and the slices of rows that point into it may be very many."""
    if missing is not None:
        indices = np.where(missing, 0, indices)
        if missing.all():
            return np.full(len(indices), None, object)
    if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= dictionary.length):
        raise IndexError
    if dictionary.length <= _SMALL_DICTIONARY or dictionary.schema.format in _NUMBERS:
        words: Array = _values(dictionary, 0, dictionary.length)[indices]
        return words
    wanted, places = np.unique(indices, return_inverse=True)
    picked = np.empty(len(wanted), object)
    for at, index in enumerate(wanted.tolist()):
        picked[at] = _values(dictionary, index, index + 1)[0]
    found: Array = picked[places]
    return found


def _buffer(array: ArrowColumn, number: int, dtype: np.dtype[Any], start: int, stop: int) -> Array:
    found = np.frombuffer(array.buffers[number], dtype)[start:stop]
    if len(found) != stop - start:
        raise ValueError("too short")
    return found


def _bits(buffer: memoryview, start: int, stop: int) -> Array:
    raw = np.frombuffer(buffer, np.uint8)[start // 8 : (stop + 7) // 8]
    bits = np.unpackbits(raw, bitorder="little")[start % 8 : start % 8 + stop - start]
    if len(bits) != stop - start:
        raise ValueError("too short")
    return bits.astype(np.bool_)


def _missing(array: ArrowColumn, start: int, stop: int) -> Array | None:
    """Which rows have no value; None if all do."""
    if array.null_count == 0 or not array.buffers or not array.buffers[0].nbytes:
        return None
    missing: Array = ~_bits(array.buffers[0], start, stop)
    return missing if missing.any() else None


def _gaps(values: Array, missing: Array | None) -> Array:
    if missing is None:
        return values
    if values.dtype.kind == "f":
        return np.where(missing, values.dtype.type(np.nan), values)
    if values.dtype.kind == "M":
        return np.where(missing, np.datetime64("NaT"), values)
    found = values.astype(object)
    found[missing] = None
    return found


def _texts(array: ArrowColumn, dtype: np.dtype[Any], text: bool, start: int, stop: int, missing: Array | None) -> Array:
    offsets = np.frombuffer(array.buffers[1], dtype)[start : stop + 1]
    if len(offsets) != stop - start + 1:
        raise ValueError("too short")
    if len(offsets) > 1 and (offsets[0] < 0 or (np.diff(offsets) < 0).any()):
        raise ValueError("offsets go back")
    raw = array.buffers[2]
    if offsets[-1] > len(raw):
        raise ValueError("offsets leave the data")
    first = int(offsets[0])
    block = bytes(raw[first : int(offsets[-1])])
    at = (offsets - first).tolist()
    found = np.empty(stop - start, object)
    if text and block.isascii():
        letters = block.decode("ascii")
        found[:] = [letters[a:b] for a, b in pairwise(at)]
    elif text:
        found[:] = [block[a:b].decode() for a, b in pairwise(at)]
    else:
        found[:] = [block[a:b] for a, b in pairwise(at)]
    if missing is not None:
        found[missing] = None
    return found


def _lists(array: ArrowColumn, form: str, start: int, stop: int, missing: Array | None) -> Array:
    child = array.children[0]
    if form.startswith("+w:"):
        width = int(form[3:])
        bounds = np.arange(start * width, (stop + 1) * width, width) if width else np.zeros(stop - start + 1, np.int64)
    else:
        bounds = np.frombuffer(array.buffers[1], "<i4" if form == "+l" else "<i8")[start : stop + 1]
    if len(bounds) != stop - start + 1 or bounds[0] < 0 or (np.diff(bounds) < 0).any() or bounds[-1] > child.length:
        raise ValueError("offsets leave the data")
    first = int(bounds[0])
    inner = _values(child, first, int(bounds[-1]))
    widths = np.diff(bounds)
    if missing is None and inner.dtype.kind in "fiub" and len(widths) and (widths == widths[0]).all():
        return inner.reshape(stop - start, int(widths[0]))
    elements, at = inner.tolist(), (bounds - first).tolist()
    found = np.empty(stop - start, object)
    for row in range(stop - start):
        found[row] = None if missing is not None and missing[row] else elements[at[row] : at[row + 1]]
    return found

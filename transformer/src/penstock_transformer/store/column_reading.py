"""Whole columns of stored values at once: rows of Value messages to numpy arrays with their missing masks.

    rows of bytes or None, row-major -> read_block(type, …) -> values [features, rows], missing [features, rows]

Features of one type are read together as one block: a batch of 64 rows with 20 doubles is one join and one view of its bytes, not
1,280 calls. The check before it: every value has the tag of its type where it must begin, or the block goes to the slower ways,
value by value in the end. What a fast way does not take, the slow way decides; they never disagree (a property test holds them).
"""

from collections.abc import Sequence
from itertools import chain
from operator import not_
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.columns import Column
from penstock.tensors import Array
from penstock_transformer.store.port import UnreadableValue
from penstock_transformer.store.value_reading import read_value
from penstock_transformer.store.value_types import NULL_TIMESTAMP, OBJECT, ValueType
from penstock_transformer.store.wire import DELIMITED, FIXED32, FIXED64, VARINT, tag

Stored = bytes | None
Mask = npt.NDArray[np.bool_]

# One varint value: a tag byte and at most ten bytes of number.
_VARINT_WIDTH = 11
# Below this many integers a Python loop is cheaper than the dozen numpy calls.
_FEW = 24
_WIRE_TYPES = {"float": FIXED32, "double": FIXED64, "bool": VARINT, "int32": VARINT, "int64": VARINT, "timestamp": VARINT}
# Short texts read lately, by their stored bytes: stored strings are categories and names, and come again. A type each.
_TEXTS = 8192
_texts: dict[bytes, dict[bytes, str]] = {}
# What stands behind a tag where a value is absent, until it is masked.
_STAND_INS = {"float": bytes(4), "double": bytes(8)} | dict.fromkeys(("bool", "int32", "int64", "timestamp", "string"), b"\0")
_RECORDS = {
    "float": np.dtype([("tag", "u1"), ("value", "<f4")]),
    "double": np.dtype([("tag", "u1"), ("value", "<f8")]),
    "bool": np.dtype([("tag", "u1"), ("value", "u1")]),
}


def read_block(
    rows: Sequence[Sequence[Stored]], start: int, names: tuple[str, ...], kind: ValueType, view: str
) -> tuple[Array, Mask]:
    """The features `names`, all of one type, at `start` of every row.

    Raises UnreadableValue naming the feature whose stored value is not of its type.
    """
    width = len(names)
    read = _fixed_rows(rows, start, width, kind) if kind.form == "scalar" and kind.kind in _RECORDS else None
    if read is None:
        stop = start + width
        flat = list(chain.from_iterable(rows if len(rows[0]) == width else [row[start:stop] for row in rows]))
        read = _fast(flat, kind) or _fast_with_gaps(flat, kind) or _slow(flat, kind, names, view)
    values, missing = read
    if width == 1:
        return values.reshape(1, -1), missing.reshape(1, -1)
    shape = (len(rows), width)
    return np.ascontiguousarray(values.reshape(shape).T), np.ascontiguousarray(missing.reshape(shape).T)


def _fixed_rows(rows: Sequence[Sequence[Stored]], start: int, width: int, kind: ValueType) -> tuple[Array, Mask] | None:
    """Numbers of one width without a look at each: what begins with the type's tag ends where the next must begin.

    A row that is as long as its values together, with a tag at every place, holds nothing else: an absent value would make it
    shorter, and none of the type is longer.
    """
    stop, size = start + width, _RECORDS[kind.kind].itemsize
    try:
        parts = [b"".join(row[start:stop]) for row in rows]  # type: ignore[arg-type]
    except TypeError:
        return None
    if set(map(len, parts)) != {size * width}:
        return None
    return _records(b"".join(parts), len(rows) * width, kind)


def _fast(flat: list[Stored], kind: ValueType) -> tuple[Array, Mask] | None:
    if kind.form != "scalar":
        return None
    try:
        if kind.kind in _RECORDS:
            return _fixed(flat, kind)
        if kind.kind == "string":
            return _strings(flat, kind)
        if kind.kind in _WIRE_TYPES:
            return _few_integers(flat, kind) if len(flat) < _FEW else _integers(flat, kind)
    except (TypeError, IndexError, UnicodeDecodeError):
        # A value is absent (None or no bytes) or broken: the slow way says which.
        return None
    return None


def _fast_with_gaps(flat: list[Stored], kind: ValueType) -> tuple[Array, Mask] | None:
    """The same where some values are absent: a stand-in takes their places, so that one gap does not slow its block down."""
    stand_in = _STAND_INS.get(kind.kind) if kind.form == "scalar" else None
    missing = np.fromiter(map(not_, flat), np.bool_, len(flat))
    if stand_in is None or not missing.any():
        return None
    filler = tag(kind.number, _WIRE_TYPES.get(kind.kind, DELIMITED)) + stand_in
    read = _fast([value or filler for value in flat], kind)
    if read is None:
        return None
    column = Column(*read).without(missing)
    return column.values, column.missing


def _fixed(flat: list[Any], kind: ValueType) -> tuple[Array, Mask] | None:
    if set(map(len, flat)) != {_RECORDS[kind.kind].itemsize}:
        return None
    return _records(b"".join(flat), len(flat), kind)


def _records(joined: bytes, count: int, kind: ValueType) -> tuple[Array, Mask] | None:
    record = _RECORDS[kind.kind]
    if joined[:: record.itemsize] != tag(kind.number, _WIRE_TYPES[kind.kind]) * count:
        return None
    values = np.frombuffer(joined, record)["value"]
    if kind.kind == "bool":
        return values != 0, np.zeros(count, np.bool_)
    values = values.astype(kind.dtype)
    return values, np.isnan(values)


def _strings(flat: list[Any], kind: ValueType) -> tuple[Array, Mask] | None:
    start = tag(kind.number, DELIMITED)
    known = _texts.setdefault(start, {})
    out = list(map(known.get, flat))
    if None in out:
        out = [known.get(value) or _text(value, start, known) for value in flat]
        if None in out:
            return None
    return np.fromiter(out, OBJECT, len(out)), np.zeros(len(out), np.bool_)


def _text(value: bytes, start: bytes, known: dict[bytes, str]) -> str | None:
    """The text of one value, kept in `known`; None for what the slow way must look at."""
    skip = len(start) + 1
    length = value[skip - 1]
    # One length byte: up to 127 bytes of text. Longer strings are rare enough for the slow way.
    if length > 0x7F or len(value) != skip + length or not value.startswith(start):
        return None
    text = value[skip:].decode()
    if len(known) >= _TEXTS:
        known.clear()
    known[value] = text
    return text


def _few_integers(flat: list[Any], kind: ValueType) -> tuple[Array, Mask] | None:
    first = kind.number << 3
    out = []
    for value in flat:
        if value[0] != first:
            return None
        result = value[-1]
        if result > 0x7F or not 2 <= len(value) <= _VARINT_WIDTH:
            return None
        for byte in value[-2:0:-1]:
            if byte < 0x80:
                return None
            result = result << 7 | byte & 0x7F
        out.append(result)
    if len(out) and max(out) >> 64:
        return None
    return _as_column(np.array(out, np.uint64), kind)


def _integers(flat: list[Any], kind: ValueType) -> tuple[Array, Mask] | None:
    lengths = np.fromiter(map(len, flat), np.intp, len(flat))
    if lengths.min() < 2 or lengths.max() > _VARINT_WIDTH:
        return None
    width = int(lengths.max())
    table = np.frombuffer(b"".join([value.ljust(width, b"\0") for value in flat]), np.uint8).reshape(-1, width)
    rest = table[:, 1:]
    last = table[np.arange(len(flat)), lengths - 1]
    # A well formed value: the tag, then bytes that say "more follows" up to the last, which does not. Zero padding adds nothing.
    if (table[:, 0] != kind.number << 3).any() or ((rest >= 0x80).sum(axis=1) != lengths - 2).any() or (last > 0x7F).any():
        return None
    if width == _VARINT_WIDTH and (table[:, 10] > 1).any():
        return None
    numbers = np.zeros(len(flat), np.uint64)
    for place in range(width - 1):
        numbers |= (rest[:, place] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * place)
    return _as_column(numbers, kind)


def _as_column(numbers: npt.NDArray[np.uint64], kind: ValueType) -> tuple[Array, Mask]:
    values = numbers.view(np.int64)
    if kind.kind != "timestamp":
        return values.astype(kind.dtype, copy=False), np.zeros(len(values), np.bool_)
    missing = values == NULL_TIMESTAMP
    seconds = values.astype(np.float64)
    seconds[missing] = np.nan
    return seconds, missing


def _slow(flat: list[Stored], kind: ValueType, names: tuple[str, ...], view: str) -> tuple[Array, Mask]:
    out: list[Any] = []
    gone: list[bool] = []
    filler = kind.placeholder
    for place, data in enumerate(flat):
        try:
            value = read_value(data, kind) if data else None
        except ValueError as error:
            name = names[place % len(names)]
            raise UnreadableValue(
                f"the feature store holds a value that cannot be read: {error}", field=f"{view}.{name}"
            ) from None
        out.append(filler if value is None else value)
        gone.append(value is None)
    missing = np.array(gone, np.bool_)
    if kind.dtype == OBJECT:
        return np.fromiter(out, OBJECT, len(out)), missing
    values = np.array(out, kind.dtype)
    return values, np.isnan(values) if kind.dtype.kind == "f" else missing

"""One stored value at a time: the bytes of Feast's Value message to a Python value.

    bytes -> read_value(type) -> number, str, bytes, 1-d array, dict … or None

This is the complete and slow way; `column_reading` takes whole columns of numbers at once and comes here for what is not plain.
A value stored under another type than the layout names is accepted where nothing is lost (an int32 where int64 is expected, a
plain string where a UUID is) and is a `ValueError` otherwise: the definition has changed since the bundle was built.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from penstock.tensors import Array
from penstock_transformer.store.value_types import ELEMENT_DTYPES, NULL_NUMBER, NULL_TIMESTAMP, OBJECT, TYPE_OF_NUMBER, ValueType
from penstock_transformer.store.wire import DELIMITED, fields, float32_of, float64_of, packed_varints, signed

# MapKey's fields: 1 int32, 2 int64, 3 float, 4 double, 5 bool, 6 timestamp, 7 bytes, 8 uuid, 9 time uuid, 10 decimal.
_MAP_KEY_KINDS = dict(enumerate(("int32", "int64", "float", "double", "bool", "timestamp", "bytes", *["string"] * 3), 1))


def read_value(data: bytes, expected: ValueType) -> Any:
    """The value in a Value message, None if it is unset or null. Raises ValueError for broken bytes or another type."""
    found, value = _any_value(data)
    if found is None or value is None:
        return None
    if found.number == expected.number:
        return value
    return _converted(value, found, expected)


def _any_value(data: bytes) -> tuple[ValueType | None, Any]:
    last: tuple[ValueType | None, Any] = (None, None)
    for number, wire_type, payload in fields(data):
        if number == NULL_NUMBER:
            last = (None, None)
            continue
        found = TYPE_OF_NUMBER.get(number)
        if found is None:
            raise ValueError(f"a value of an unknown type (field {number})")
        last = (found, _payload(found, wire_type, payload))
    return last


def _payload(found: ValueType, wire_type: int, payload: int | bytes) -> Any:
    if found.form == "scalar":
        return _SCALARS[found.kind](payload)
    if wire_type != DELIMITED or isinstance(payload, int):
        raise ValueError(f"expected a message for {found.name}")
    return _COMPOUNDS[found.form](payload, found.kind)


def _converted(value: Any, found: ValueType, expected: ValueType) -> Any:
    if found.form == expected.form == "list" and found.kind == expected.kind:
        return value
    if found.form == expected.form == "scalar":
        if found.kind == expected.kind:
            return value
        if found.kind in ("int32", "int64") and expected.kind in ("int32", "int64"):
            if expected.kind == "int32" and not -(2**31) <= value < 2**31:
                raise ValueError(f"{value} does not fit int32")
            return value
        if expected.kind in ("float", "double") and found.kind in ("float", "double", "int32", "int64"):
            return float(value)
    raise ValueError(f"the store holds a value of type {found.name}, the layout says {expected.name}")


def _bytes(payload: int | bytes) -> bytes:
    if isinstance(payload, int):
        raise ValueError("expected bytes")
    return payload


def _text(payload: int | bytes) -> str:
    return _bytes(payload).decode()


def _integer(payload: int | bytes) -> int:
    if not isinstance(payload, int):
        raise ValueError("expected a number")
    return signed(payload)


def _int32(payload: int | bytes) -> int:
    value = _integer(payload) & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _seconds(payload: int | bytes) -> float | None:
    value = _integer(payload)
    return None if value == NULL_TIMESTAMP else float(value)


def _zoned(payload: int | bytes) -> float | None:
    seconds: float | None = 0.0
    for number, _, value in fields(_bytes(payload)):
        if number == 1:
            seconds = _seconds(value)
    return seconds


_SCALARS: dict[str, Callable[[int | bytes], Any]] = {
    "bytes": _bytes,
    "string": _text,
    "int32": _int32,
    "int64": _integer,
    "double": float64_of,
    "float": float32_of,
    "bool": lambda payload: _integer(payload) != 0,
    "timestamp": _seconds,
    "zoned": _zoned,
}


def _list(payload: bytes, kind: str) -> Array:
    dtype = ELEMENT_DTYPES[kind]
    if kind in ("float", "double"):
        return _packed_floats(payload, dtype)
    if dtype == OBJECT:
        read = _SCALARS[kind]
        items = [read(value) for number, _, value in fields(payload) if number == 1]
        return np.fromiter(items, OBJECT, len(items))
    numbers: list[int] = []
    for number, wire_type, value in fields(payload):
        if number == 1:
            numbers.extend(packed_varints(_bytes(value)) if wire_type == DELIMITED else [_unsigned(value)])
    if kind == "timestamp":
        seconds = [_seconds(n) for n in numbers]
        return np.array([np.nan if s is None else s for s in seconds], dtype)
    return np.array(numbers, np.uint64).view(np.int64).astype(dtype)


def _unsigned(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("expected a number")
    return value


def _packed_floats(payload: bytes, dtype: np.dtype[Any]) -> Array:
    # Packed (one field of many numbers) and unpacked (many fields of one) hold the same little-endian bytes.
    joined = b"".join(_bytes(value) for number, _, value in fields(payload) if number == 1)
    if len(joined) % dtype.itemsize:
        raise ValueError("a list of floats that is cut off")
    return np.frombuffer(joined, dtype.newbyteorder("<")).astype(dtype)


def _map(payload: bytes, _: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for number, _wire, entry in fields(payload):
        if number == 1:
            key, value = "", None
            for part, _type, content in fields(_bytes(entry)):
                if part == 1:
                    key = _text(content)
                elif part == 2:
                    value = _any_value(_bytes(content))[1]
            out[key] = value
    return out


def _maps(payload: bytes, _: str) -> list[dict[str, Any]]:
    return [_map(_bytes(value), "") for number, _type, value in fields(payload) if number == 1]


def _values(payload: bytes, _: str) -> list[Any]:
    return [_any_value(_bytes(value))[1] for number, _type, value in fields(payload) if number == 1]


def _scalar_map(payload: bytes, _: str) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    for number, _type, entry in fields(payload):
        if number == 1:
            key = value = None
            for part, _wire, content in fields(_bytes(entry)):
                if part == 1:
                    for key_number, _key_type, key_content in fields(_bytes(content)):
                        key = _SCALARS[_MAP_KEY_KINDS[key_number]](key_content)
                elif part == 2:
                    value = _any_value(_bytes(content))[1]
            out[key] = value
    return out


_COMPOUNDS: dict[str, Callable[[bytes, str], Any]] = {
    "list": _list,
    "map": _map,
    "maps": _maps,
    "values": _values,
    "scalar_map": _scalar_map,
}

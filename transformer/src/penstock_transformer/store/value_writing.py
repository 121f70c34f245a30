"""One Python value to the bytes of Feast's Value message, as Feast's own writer makes them.

    Python value + ValueType -> write_value -> bytes (empty for None: a Value with nothing set)

A value that is not of the type is an InvalidInput that names the field; nothing is rounded, cut or guessed on the way in, except
that a whole number is taken for a float or a timestamp.
"""

import json
import math
import struct
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from penstock.errors import InvalidInput
from penstock_transformer.store.value_types import VALUE_TYPES, ValueType
from penstock_transformer.store.wire import DELIMITED, FIXED32, FIXED64, VARINT, delimited, tag, varint

_FLOAT32_MAX = float(np.finfo(np.float32).max)
# The years 1 to 9999: what Feast, which makes datetimes of what it reads, can read again.
_FIRST_S, _LAST_S = -62_135_596_800, 253_402_300_799


def write_value(value: Any, kind: ValueType, field: str) -> bytes:
    """The bytes of a Value. Raises InvalidInput naming `field` if the value is not of its type."""
    if value is None:
        return b""
    try:
        return _written(value, kind)
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        detail = f": {error}" if str(error) and type(error) is ValueError else ""
        shown = f"{type(value).__name__} {value!r}"[:80]
        raise InvalidInput(f"expected a value of type {kind.name}, got {shown}{detail}", field=field) from None


def _written(value: Any, kind: ValueType) -> bytes:
    value = _python(value)
    if kind.form == "scalar":
        wire_type, write = _SCALARS[kind.kind]
        payload = write(value)
        if wire_type == DELIMITED:
            return delimited(kind.number, payload)
        return tag(kind.number, wire_type) + payload
    return delimited(kind.number, _COMPOUNDS[kind.form](value, kind))


def _python(value: Any) -> Any:
    """A numpy scalar as Python's own; times as datetimes, whatever their unit, where numpy would make a number of nanoseconds."""
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[us]").item()
    return value.item() if isinstance(value, np.generic) else value


def _whole(value: Any, bits: int) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise ValueError(f"does not fit {bits} bits")
    return varint(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _float32(value: Any) -> bytes:
    number = _number(value)
    if math.isfinite(number) and abs(number) > _FLOAT32_MAX:
        raise ValueError("does not fit a 32-bit float")
    return struct.pack("<f", number)


def _bool(value: Any) -> bytes:
    if not isinstance(value, bool):
        raise TypeError
    return b"\x01" if value else b"\x00"


def _seconds(value: Any) -> int:
    """Whole seconds: what Feast's timestamps hold. A datetime without a zone is UTC."""
    if isinstance(value, datetime):
        return math.floor((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    seconds = math.floor(_number(value))
    if not _FIRST_S <= seconds <= _LAST_S:
        raise ValueError("is not within the years 1 to 9999")
    return seconds


def _text(value: Any) -> bytes:
    if isinstance(value, uuid.UUID | Decimal):
        value = str(value)
    if not isinstance(value, str):
        raise TypeError
    return value.encode()


def _raw(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return bytes(value)


def _zoned(value: Any) -> bytes:
    zone = ""
    if isinstance(value, datetime) and value.tzinfo is not None:
        zone = getattr(value.tzinfo, "key", None) or str(value.tzinfo)
    seconds = _seconds(value)
    return (tag(1, VARINT) + varint(seconds) if seconds else b"") + (delimited(2, zone.encode()) if zone else b"")


_SCALARS: dict[str, tuple[int, Callable[[Any], bytes]]] = {
    "bytes": (DELIMITED, _raw),
    "string": (DELIMITED, _text),
    "int32": (VARINT, lambda value: _whole(value, 32)),
    "int64": (VARINT, lambda value: _whole(value, 64)),
    "double": (FIXED64, lambda value: struct.pack("<d", _number(value))),
    "float": (FIXED32, _float32),
    "bool": (VARINT, _bool),
    "timestamp": (VARINT, lambda value: varint(_seconds(value))),
    "zoned": (DELIMITED, _zoned),
}


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, np.ndarray):
        return value.astype("datetime64[us]").tolist() if value.dtype.kind == "M" else value.tolist()  # type: ignore[no-any-return]
    if not isinstance(value, list | tuple | set | frozenset):
        raise TypeError
    return value


def _list(value: Any, kind: ValueType) -> bytes:
    wire_type, write = _SCALARS[kind.kind]
    parts = [write(item) for item in _items(value)]
    if kind.name.startswith("set<"):
        parts = list(dict.fromkeys(parts))
    if wire_type == DELIMITED:
        return b"".join([delimited(1, part) for part in parts])
    return delimited(1, b"".join(parts)) if parts else b""


def _map(value: Any, _: ValueType) -> bytes:
    if not isinstance(value, dict):
        raise TypeError
    entries = [
        delimited(1, key_bytes) + delimited(2, _guessed(item)) for key_bytes, item in ((_text(k), v) for k, v in value.items())
    ]
    return b"".join([delimited(1, entry) for entry in entries])


def _maps(value: Any, kind: ValueType) -> bytes:
    return b"".join([delimited(1, _map(item, kind)) for item in _items(value)])


def _values(value: Any, _: ValueType) -> bytes:
    return b"".join([delimited(1, _guessed(item)) for item in _items(value)])


def _scalar_map(value: Any, _: ValueType) -> bytes:
    if not isinstance(value, dict):
        raise TypeError
    return b"".join([delimited(1, delimited(1, _map_key(key)) + delimited(2, _guessed(item))) for key, item in value.items()])


def _map_key(key: Any) -> bytes:
    if isinstance(key, bool):
        return tag(5, VARINT) + _bool(key)
    if isinstance(key, int):
        return tag(2, VARINT) + _whole(key, 64)
    if isinstance(key, float):
        return tag(4, FIXED64) + struct.pack("<d", key)
    if isinstance(key, datetime):
        return tag(6, VARINT) + varint(_seconds(key))
    if isinstance(key, bytes):
        return delimited(7, key)
    if isinstance(key, uuid.UUID):
        return delimited(8, str(key).encode())
    if isinstance(key, Decimal):
        return delimited(10, str(key).encode())
    raise ValueError("keys of a scalar_map are int, float, bool, bytes, datetime, UUID or Decimal")


def _guessed(value: Any) -> bytes:
    """A value inside a map, whose type nobody declared: by its Python type, as Feast does."""
    if value is None:
        return b""
    if isinstance(value, np.ndarray):
        value = list(_items(value))
    value = _python(value)
    return _written(value, VALUE_TYPES[_name_of(value)])


def _name_of(value: Any) -> str:
    for python_type, name in _GUESSES:
        if isinstance(value, python_type):
            return name
    if isinstance(value, list | tuple):
        names = {_name_of(item) for item in value}
        if names == {"map"}:
            return "list<map>"
        if names == {"int64", "double"}:
            return "list<double>"
        if len(names) == 1 and f"list<{next(iter(names))}>" in VALUE_TYPES:
            return f"list<{names.pop()}>"
        return "list<value>" if names else "list<string>"
    raise TypeError


_COMPOUNDS: dict[str, Callable[[Any, ValueType], bytes]] = {
    "list": _list,
    "map": _map,
    "maps": _maps,
    "values": _values,
    "scalar_map": _scalar_map,
}

_GUESSES: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (int, "int64"),
    (float, "double"),
    (str, "string"),
    (bytes, "bytes"),
    (datetime, "unix_timestamp"),
    (uuid.UUID, "uuid"),
    (Decimal, "decimal"),
    (dict, "map"),
)


def json_text(value: Any) -> str:
    """A JSON feature's text: a string is taken as the text itself, anything else is serialised."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)

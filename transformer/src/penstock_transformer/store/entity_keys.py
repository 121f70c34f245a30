"""Entity keys as Feast serialises them: the rows of its SQL tables and, before the project's name, the keys of its Redis hashes.

    (value, …) in the layout's order -> EntityKeyCodec.encode -> bytes -> .decode -> (value, …)

Join keys are sorted by name. Version 3: their number, then each one's type, length and name; then each value's type, length and
bytes, little-endian. Version 2 lacks the number and the names' lengths. Older versions wrote a 32-bit int64 and are refused.
Source: feast/infra/key_encoding_utils.py and docs/specs/online_store_format.md of Feast 0.67.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

from penstock.errors import InvalidInput

_HEAD = struct.Struct("<II")
_INT64 = struct.Struct("<IIq")
_INT32 = struct.Struct("<IIi")
_TYPE_NUMBERS = {"bytes": 1, "string": 2, "int32": 3, "int64": 4, "unix_timestamp": 8}
_STRING = _TYPE_NUMBERS["string"]


def _text(value: Any) -> bytes:
    if type(value) is not str:
        raise TypeError
    data = value.encode()
    return _HEAD.pack(_STRING, len(data)) + data


def _raw(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return _HEAD.pack(_TYPE_NUMBERS["bytes"], len(value)) + value


def _integer(packer: struct.Struct, number: int, size: int) -> Callable[[Any], bytes]:
    def pack(value: Any) -> bytes:
        # bool is an int to Python, never a key; numpy's integers are taken for what they are.
        if value.__class__ is bool:
            raise TypeError
        return packer.pack(number, size, value)

    return pack


def _seconds(value: Any) -> bytes:
    if isinstance(value, bool) or int(value) != value:
        raise TypeError
    return _INT64.pack(_TYPE_NUMBERS["unix_timestamp"], 8, int(value))


_WRITERS: dict[str, Callable[[Any], bytes]] = {
    "string": _text,
    "bytes": _raw,
    "int32": _integer(_INT32, 3, 4),
    "int64": _integer(_INT64, 4, 8),
    "unix_timestamp": _seconds,
}


class EntityKeyCodec:
    """Keys of one view. `keys` maps join key to type, in the layout's order, which is that of the tuples here.

    Raises InvalidInput for a key type that Feast cannot serialise or a serialisation version that is not known.
    """

    __slots__ = ("_names", "_order", "_single", "_types", "_writers", "prefix")

    def __init__(self, keys: dict[str, str], version: int, view: str) -> None:
        if version not in (2, 3):
            raise InvalidInput(
                f"entity key serialisation {version} is not supported; expected 2 or 3", field="store.keySerialization"
            )
        for name, key_type in keys.items():
            if key_type not in _WRITERS:
                raise InvalidInput(
                    f"join keys of type {key_type!r} are not supported; known are {', '.join(_WRITERS)}", field=f"{view}.{name}"
                )
        self._names = tuple(keys)
        self._types = tuple(keys.values())
        # Positions in the caller's tuple, in the order in which values are stored.
        self._order = sorted(range(len(keys)), key=lambda i: self._names[i])
        self._writers = [_WRITERS[self._types[i]] for i in self._order]
        self._single = self._writers[0] if len(self._writers) == 1 else None
        self.prefix = _prefix([self._names[i] for i in self._order], version)

    def encode(self, keys: Sequence[tuple[Any, ...]]) -> list[bytes]:
        """The serialised keys. Raises InvalidInput, field `keys[i].name`, for a value that is not of its type."""
        prefix, single = self.prefix, self._single
        try:
            if single is not None:
                return [prefix + single(value) for (value,) in keys]
            parts = list(zip(self._order, self._writers, strict=True))
            return [prefix + b"".join([write(key[i]) for i, write in parts]) for key in keys]
        except (TypeError, ValueError, IndexError, struct.error, OverflowError, UnicodeEncodeError):
            raise self._fault(keys) from None

    def _fault(self, keys: Sequence[tuple[Any, ...]]) -> InvalidInput:
        for row, key in enumerate(keys):
            if len(key) != len(self._names):
                return InvalidInput(
                    f"expected {len(self._names)} values ({', '.join(self._names)}), got {len(key)}", field=f"keys[{row}]"
                )
            for value, name, key_type in zip(key, self._names, self._types, strict=True):
                try:
                    _WRITERS[key_type](value)
                except (TypeError, ValueError, struct.error, OverflowError):
                    shown = f"{type(value).__name__} {value!r}"[:80]
                    return InvalidInput(f"expected a key of type {key_type}, got {shown}", field=f"keys[{row}].{name}")
        return InvalidInput("a key cannot be serialised")

    def decode(self, data: bytes) -> tuple[tuple[Any, ...], bytes] | None:
        """The key and the bytes behind it (Redis: the project), or None if these bytes are no key of this view."""
        if not data.startswith(self.prefix):
            return None
        values: list[Any] = [None] * len(self._names)
        position = len(self.prefix)
        for place in self._order:
            if position + 8 > len(data):
                return None
            number, length = _HEAD.unpack_from(data, position)
            position += 8
            if number != _TYPE_NUMBERS[self._types[place]] or position + length > len(data):
                return None
            values[place] = _value(self._types[place], data[position : position + length])
            position += length
        return tuple(values), data[position:]


def _prefix(names: list[str], version: int) -> bytes:
    parts = [struct.pack("<I", len(names))] if version > 2 else []
    for name in names:
        data = name.encode()
        parts.append(_HEAD.pack(_STRING, len(data)) if version > 2 else struct.pack("<I", _STRING))
        parts.append(data)
    return b"".join(parts)


def _value(key_type: str, data: bytes) -> Any:
    if key_type == "string":
        return data.decode()
    if key_type == "bytes":
        return data
    return int.from_bytes(data, "little", signed=True)

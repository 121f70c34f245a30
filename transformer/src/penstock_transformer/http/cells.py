"""Cells: text that came without quotes or braces (CSV, form fields, query) as values of a feature's or key's type.

The types are those of `penstock.columns` and, for keys and records, Feast's lower-case names. An empty cell is a missing value.
"""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}(\.0+)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?|[+-]?inf(inity)?|nan", re.IGNORECASE)
_TRUE, _FALSE = {"true", "1", "yes", "t"}, {"false", "0", "no", "f"}


class WrongCell(ValueError):
    """A cell that is not of its type; its text says what was expected. Whoever knows the row makes an InvalidInput of it."""


def typed(text: str, type_name: str | None) -> Any:
    """The value of a cell, None if it is empty; with no type a number if it looks like one, else the text. Raises WrongCell."""
    if not text:
        return None
    if type_name is None:
        return _guessed(text)
    read = READERS.get(type_name)
    if read is not None:
        return read(text)
    if type_name.startswith("list<"):
        return _list(text, type_name)
    raise WrongCell(f"values of type {type_name} cannot be given as text")


def _integer(name: str, bits: int) -> Callable[[str], int]:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def read(text: str) -> int:
        stripped = text.strip()
        if not _INTEGER.fullmatch(stripped):
            raise WrongCell(f"expected {name}, got {shown(text)}")
        value = int(stripped.partition(".")[0])
        if not low <= value <= high:
            raise WrongCell(f"expected {name} from {low} to {high}, got {shown(text)}")
        return value

    return read


def _number(name: str) -> Callable[[str], float | None]:
    def read(text: str) -> float | None:
        stripped = text.strip()
        if not _NUMBER.fullmatch(stripped):
            raise WrongCell(f"expected {name}, got {shown(text)}")
        value = float(stripped)
        return None if value != value else value

    return read


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise WrongCell(f"expected true or false, got {shown(text)}")


def seconds(text: str) -> float | int:
    """Seconds since the epoch of a number of seconds or an ISO 8601 time; a time without a zone is UTC. Raises WrongCell."""
    stripped = text.strip()
    if _NUMBER.fullmatch(stripped):
        value = float(stripped)
        if abs(value) < 1e15:
            return int(value) if value.is_integer() else value
    else:
        try:
            moment = datetime.fromisoformat(stripped)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            pass
    raise WrongCell(f"expected seconds since 1970 or an ISO 8601 time, got {shown(text)}")


def base64_bytes(text: str) -> bytes:
    """The bytes of base64 text, with or without a `data:…;base64,` prefix. Raises WrongCell."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise WrongCell(f"expected base64, got {shown(text)}") from None


def _list(text: str, type_name: str) -> list[Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, list):
        raise WrongCell(f"expected a JSON array ({type_name}), got {shown(text)}")
    return value


def _guessed(text: str) -> Any:
    stripped = text.strip()
    if _INTEGER.fullmatch(stripped) and "." not in stripped:
        return int(stripped)
    return float(stripped) if _NUMBER.fullmatch(stripped) else text


def shown(text: str) -> str:
    """A caller's text in quotes, cut to a line's length, with nothing unprintable in it."""
    cut = text if len(text) <= 60 else f"{text[:56]} ..."
    return '"' + cut.encode("unicode_escape").decode("ascii") + '"'


READERS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "bool": _boolean,
    "int32": _integer("int32", 32),
    "int64": _integer("int64", 64),
    "float32": _number("float32"),
    "float64": _number("float64"),
    "float": _number("float"),
    "double": _number("double"),
    "timestamp": seconds,
    "unix_timestamp": seconds,
    "bytes": base64_bytes,
    "image": base64_bytes,
}

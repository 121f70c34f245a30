"""One cell of a CSV file or of an SQL answer, as a value of the type that the view defines; what does not fit is refused.

"3.5", 3.5, Decimal("3.5") + double -> 3.5        "" or NULL -> None
"""

import base64
import binascii
import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from penstock_transformer.store.value_types import ValueType
from penstock_transformer.store.value_writing import json_text

_TRUE = frozenset({"true", "t", "yes", "1"})
_FALSE = frozenset({"false", "f", "no", "0"})


def cell_value(cell: Any, kind: ValueType) -> Any:
    """The value, None for an empty cell. Raises ValueError saying what was expected."""
    if cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if kind.name == "json":
        return json_text(cell)
    if kind.form == "scalar":
        return _READERS[kind.kind](cell)
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except ValueError:
            raise ValueError("expected JSON") from None
    if kind.form != "list":
        return cell
    if not isinstance(cell, list | tuple):
        raise ValueError("expected a JSON list")
    read = _READERS[kind.kind]
    return [read(item) for item in cell]


def moment(cell: Any) -> float:
    """Seconds since the epoch of a datetime, an ISO 8601 text or a number; without a zone it is UTC. Raises ValueError."""
    if isinstance(cell, str):
        cell = _number_or_iso(cell.strip())
    if isinstance(cell, datetime):
        return (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp()
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day, tzinfo=UTC).timestamp()
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        raise ValueError("expected a time (ISO 8601 or seconds since the epoch)")
    seconds = float(cell)
    if not math.isfinite(seconds):
        raise ValueError("expected a finite time")
    return seconds


def _number_or_iso(text: str) -> float | datetime:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("expected a time (ISO 8601 or seconds since the epoch)") from None


def _text(cell: Any) -> str:
    if isinstance(cell, bool | bytes):
        raise ValueError("expected text")
    return cell if isinstance(cell, str) else str(cell)


def _raw(cell: Any) -> bytes:
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    try:
        return base64.b64decode(cell, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise ValueError("expected base64") from None


def _whole(cell: Any) -> int:
    if isinstance(cell, str):
        try:
            return int(cell)
        except ValueError:
            raise ValueError("expected a whole number") from None
    if isinstance(cell, int):
        return int(cell)
    # An SQL column that holds NULLs may bring whole numbers as floats.
    if isinstance(cell, float | Decimal) and cell == int(cell):
        return int(cell)
    raise ValueError("expected a whole number")


def _number(cell: Any) -> float:
    try:
        if isinstance(cell, bool):
            raise TypeError
        return float(cell)
    except (TypeError, ValueError):
        raise ValueError("expected a number") from None


def _bool(cell: Any) -> bool:
    text = str(cell).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("expected true or false")


_READERS: dict[str, Callable[[Any], Any]] = {
    "bytes": _raw,
    "string": _text,
    "int32": _whole,
    "int64": _whole,
    "double": _number,
    "float": _number,
    "bool": _bool,
    "timestamp": moment,
    "zoned": moment,
}

"""Durations as people write them: `400d`, `3h`, `1d12h`, `250ms`. Read to seconds and written back.

A bare number is refused: nothing in a spec leaves a unit to be guessed.
"""

import re
from typing import Any

from penstock.errors import InvalidInput

_UNITS_S = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_EXPECTED = "expected a duration such as 400d, 3h, 15m, 30s or 250ms"


def read_duration(value: Any, field: str) -> float:
    """Seconds of a duration such as `3h` or `1d12h`. Raises InvalidInput for anything else, and for zero."""
    if not isinstance(value, str) or len(value) > 40 or not _WHOLE.fullmatch(value):
        raise InvalidInput(f"{_EXPECTED}, got {value!r}", field=field)
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(value))
    if seconds <= 0:
        raise InvalidInput(f"{_EXPECTED}, more than zero, got {value!r}", field=field)
    return seconds


def write_duration(seconds: float) -> str:
    """The shortest single-unit text that `read_duration` reads back to exactly these seconds."""
    for unit, size in _UNITS_S.items():
        count = seconds / size
        if unit != "w" and count >= 1 and count == int(count) and int(count) * size == seconds:
            return f"{int(count)}{unit}"
    text = f"{seconds:.12f}".rstrip("0").rstrip(".")
    return f"{text}s"

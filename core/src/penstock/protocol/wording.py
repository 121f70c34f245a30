"""How a value that came in is shown in an error message: as JSON would show it, short enough for a log line, never a payload."""

from typing import Any

LONGEST = 80
"""Characters of a caller's own text that a message repeats at most."""


def describe(value: Any) -> str:
    """A JSON value in few words: scalars and short flat arrays as they are, anything else by its kind."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        if len(value) <= 16 and all(type(item) is int for item in value):
            return _cut(f"[{', '.join(_cut(str(item), 24) for item in value)}]")
        return f"an array of {len(value)}"
    return _cut(str(value))


def quote(text: str) -> str:
    """A caller's text in double quotes, cut, with control characters and lone surrogates escaped."""
    return '"' + _cut(text[: LONGEST + 1]).encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


def _cut(text: str, length: int = LONGEST) -> str:
    return text if len(text) <= length else f"{text[: length - 4]} ..."

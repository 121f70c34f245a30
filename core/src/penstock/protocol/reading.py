"""JSON out of bytes for the slow ways in: any value at all, or an InvalidInput that says why not, and where."""

import json
import math
import re
from typing import Any

import msgspec

from penstock.errors import InvalidInput
from penstock.protocol.wording import describe

# What Python's and JavaScript's printers make of numbers that JSON does not have.
_NOT_JSON = re.compile(rb"[\[,:\s]-?(?:NaN|Infinity)\b")
# Half of a character beyond U+FFFF with its other half missing: the decoder calls some such text cut off.
_HALF_A_CHARACTER = re.compile(rb"\\u[dD][89aAbB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
# A number is looked for in documents up to here: Python's own reader takes up to 150 ms a megabyte, of the event loop's time.
_MOST_BYTES_SEARCHED = 1 << 17


def read_json(text: bytes) -> Any:
    """Any JSON value. Raises InvalidInput, field `body`, for what is not JSON, or nested too deeply to be read."""
    if not text.strip():
        raise InvalidInput("expected JSON, got an empty body", field="body")
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise InvalidInput("the JSON is nested too deeply", field="body") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"expected JSON in UTF-8, got invalid text at byte {error.start} of a string", field="body") from None
    except msgspec.ValidationError as error:
        # No type is asked for here, so what is refused is a number that neither an int64 nor a float holds.
        raise InvalidInput(str(error).split(" - at ")[0].lower(), field=number_beyond(text) or "body") from None
    except msgspec.MsgspecError as error:
        raise InvalidInput(not_json(error, text), field="body") from None


def not_json(error: Exception, text: bytes) -> str:
    """What to say of a text that the decoder cannot read, with what callers' own printers often have to do with it."""
    hint = ""
    if _NOT_JSON.search(text):
        hint = "; JSON has no NaN and no Infinity: null stands for NaN"
    elif _HALF_A_CHARACTER.search(text):
        hint = "; a string has half of a surrogate pair"
    return f"expected JSON: {error}{hint}"


def number_beyond(text: bytes) -> str | None:
    """The path of the first number that no float holds, such as `rows[0].a`. None: there is none, or the text is too long."""
    if len(text) > _MOST_BYTES_SEARCHED:
        return None
    try:
        # parse_int: Python itself refuses to read integers of over 4,300 digits. What it reads as Infinity is no number of JSON.
        return _path_beyond(json.loads(text, parse_int=float, parse_constant=lambda _: None))
    except (ValueError, RecursionError):
        return None


def _path_beyond(value: Any) -> str | None:
    """The path of the first infinity below a value; None if there is none."""
    if isinstance(value, float):
        return "" if math.isinf(value) else None
    members: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        if (below := _path_beyond(member)) is not None:
            step = f"[{key}]" if isinstance(key, int) else key[:60]
            return f"{step}.{below}" if below and not below.startswith("[") else step + below
    return None


def read_object(text: bytes) -> dict[str, Any]:
    """A JSON object. Raises InvalidInput for anything else."""
    document = read_json(text)
    if not isinstance(document, dict):
        raise InvalidInput(f"expected a JSON object, got {describe(document)}", field="body")
    return document

"""JSON out of bytes for the slow ways in: any value at all, or an InvalidInput that says why not."""

import re
from typing import Any

import msgspec

from penstock.errors import InvalidInput
from penstock.protocol.wording import describe

# What Python's and JavaScript's printers make of numbers that JSON does not have.
_NOT_JSON = re.compile(rb"[\[,:\s]-?(?:NaN|Infinity)\b")


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
    except msgspec.MsgspecError as error:
        hint = "; JSON has no NaN and no Infinity: null stands for NaN" if _NOT_JSON.search(text) else ""
        raise InvalidInput(f"expected JSON: {error}{hint}", field="body") from None


def read_object(text: bytes) -> dict[str, Any]:
    """A JSON object. Raises InvalidInput for anything else."""
    document = read_json(text)
    if not isinstance(document, dict):
        raise InvalidInput(f"expected a JSON object, got {describe(document)}", field="body")
    return document

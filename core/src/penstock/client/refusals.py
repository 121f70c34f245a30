"""Answers that are no success, as the error tree: the one table from HTTP statuses back to `penstock.errors`.

The server's problem+json names the kind and the field; `{"error": …}` on protocol paths names the field before a colon, and the
kind is told by the status. What no Penstock server would send comes from something in between and is UpstreamUnavailable.
"""

import email.utils
import re
import time
from typing import Any

import orjson

from penstock.client.call import Answer
from penstock.errors import (
    Cancelled,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Internal,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    PenstockError,
    TooLarge,
    Unauthenticated,
    UnsupportedType,
    UpstreamUnavailable,
    WrongBundle,
)

_CLASSES: tuple[type[PenstockError], ...] = (
    InvalidInput,
    TooLarge,
    UnsupportedType,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    WrongBundle,
    Overloaded,
    DeadlineExceeded,
    Cancelled,
    NotReady,
    UpstreamUnavailable,
    Internal,
)
_BY_KIND = {str(found.kind): found for found in _CLASSES}
_BY_STATUS: dict[int, type[PenstockError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: InvalidInput,
    408: DeadlineExceeded,
    409: Conflict,
    412: WrongBundle,
    413: TooLarge,
    415: UnsupportedType,
    422: InvalidInput,
    429: Overloaded,
    431: TooLarge,
    499: Cancelled,
    500: Internal,
    503: NotReady,
    504: DeadlineExceeded,
}
# `inputs[1].data[3]: expected …`, `Penstock-Timeout-Ms: expected …`; other words before a colon belong to the message.
_FIELD = re.compile(
    r"((?:(?:inputs|outputs|instances|rows|parameters|options|id|body|model|version)(?:[.\[][^\s:]*)?)|[A-Z]\w*(?:-\w+)+): "
)
_LONGEST = 2000


def error_of(answer: Answer) -> PenstockError:
    """The error that an answer means, with its field, its bundle and the request's id."""
    document = _document(answer)
    message, field = _message(answer, document), document.get("field")
    if "error" in document and answer.status < 500 and (match := _FIELD.match(message)):
        field, message = match[1], message[match.end() :]
    known = _BY_KIND.get(str(document.get("kind"))) or _BY_STATUS.get(answer.status)
    field = field if isinstance(field, str) else None
    message = message.removeprefix(f"{field}: ")
    if known is None:
        error: PenstockError = UpstreamUnavailable(f"status {answer.status}: {message}", field=field)
    elif known is Overloaded:
        wait_s = retry_after_s(answer)
        error = Overloaded(message, field=field, retry_after_s=1.0 if wait_s is None else wait_s)
    else:
        error = known(message, field=field)
    error.bundle = answer.bundle or None
    error.request_id = answer.request_id or None
    return error


def retry_after_s(answer: Answer) -> float | None:
    """When to try again, if the answer says: `Retry-After-Ms`, else `Retry-After` in seconds or as a date."""
    milliseconds, given = answer.headers.get("retry-after-ms", ""), answer.headers.get("retry-after", "")
    if milliseconds.isdecimal():
        return int(milliseconds) / 1e3
    if given.isdecimal():
        return float(given)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return None


def _document(answer: Answer) -> dict[str, Any]:
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _message(answer: Answer, document: dict[str, Any]) -> str:
    for name in ("error", "detail", "title"):
        if isinstance(document.get(name), str):
            return str(document[name])[:_LONGEST]
    return f"the server answered with status {answer.status}"

"""The one table from error kinds to HTTP statuses, and the two forms in which HTTP carries an error.

Protocol paths (`/v1`, `/v2`) answer `{"error": "…"}`, as KServe's and the Open Inference Protocol's clients expect; every other
path answers `application/problem+json` (RFC 9457). Nothing else in Penstock decides on an HTTP status by an error's kind.
"""

import http
import math

import orjson

from penstock.errors import ErrorKind, Forbidden, Overloaded, PenstockError

HTTP_STATUS: dict[ErrorKind, int] = {
    ErrorKind.INVALID_INPUT: 400,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.UNSUPPORTED_TYPE: 415,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.WRONG_BUNDLE: 412,
    ErrorKind.OVERLOADED: 429,
    ErrorKind.DEADLINE_EXCEEDED: 504,
    ErrorKind.CANCELLED: 499,  # nobody is left to read it; nginx's number for that, seen in logs and metrics only
    ErrorKind.NOT_READY: 503,
    ErrorKind.UPSTREAM_UNAVAILABLE: 503,
    ErrorKind.INTERNAL: 500,
}

JSON = b"application/json"
PROBLEM = b"application/problem+json"

# How long a caller should wait before it tries again what may work later, where the error itself does not know.
DEFAULT_RETRY_S = {ErrorKind.NOT_READY: 1.0, ErrorKind.UPSTREAM_UNAVAILABLE: 1.0}


def is_protocol_path(path: bytes) -> bool:
    """Whether errors on this path take the inference protocols' form."""
    return path.startswith((b"/v2/", b"/v1/")) or path in (b"/v2", b"/v1")


def error_response(error: PenstockError, path: bytes) -> tuple[int, bytes, bytes, bytes]:
    """Status, body, content type and further header lines (each ending in CR LF) of an error on a path."""
    status = HTTP_STATUS[error.kind]
    if is_protocol_path(path):
        return status, orjson.dumps({"error": _clean(str(error))}), JSON, error_headers(error)
    return status, problem(status, _clean(error.message), error.kind.value, error.field), PROBLEM, error_headers(error)


def status_response(status: int, message: str, path: bytes) -> tuple[bytes, bytes]:
    """Body and content type of an error that is HTTP's own (404 for a path, 405 for a method) and has no kind."""
    if is_protocol_path(path):
        return orjson.dumps({"error": message}), JSON
    return problem(status, message), PROBLEM


def problem(status: int, detail: str, kind: str | None = None, field: str | None = None) -> bytes:
    """An RFC 9457 problem; `kind` and `field` are members of our own, left out where there is none."""
    members: dict[str, object] = {"type": "about:blank", "title": _phrase(status), "status": status, "detail": detail}
    if kind is not None:
        members["kind"] = kind
    if field is not None:
        members["field"] = _clean(field)
    return orjson.dumps(members)


def error_headers(error: PenstockError) -> bytes:
    """Header lines of an error: when to try again, or what credentials are asked for (RFC 6750, 3)."""
    if error.kind is ErrorKind.UNAUTHENTICATED:
        return b'www-authenticate: Bearer realm="penstock"\r\n'
    if isinstance(error, Forbidden) and error.scope is not None:
        scope = error.scope.encode("ascii", "replace").replace(b"\\", b"?").replace(b'"', b"?")
        scope = bytes(byte if 32 <= byte < 127 else 63 for byte in scope)
        return b'www-authenticate: Bearer realm="penstock", error="insufficient_scope", scope="%b"\r\n' % scope
    return retry_headers(error)


def retry_headers(error: PenstockError) -> bytes:
    """`Retry-After` (whole seconds, rounded up) and `Retry-After-Ms` for errors that may pass; nothing for others."""
    seconds = error.retry_after_s if isinstance(error, Overloaded) else DEFAULT_RETRY_S.get(error.kind)
    if seconds is None:
        return b""
    return b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (max(1, math.ceil(seconds)), max(1, round(seconds * 1000)))


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request" if status == 499 else "Error"


def _clean(text: str) -> str:
    """Lone surrogates, which a caller's JSON can smuggle into a message, would make the error itself unwritable."""
    return text.encode("utf-8", "replace").decode()

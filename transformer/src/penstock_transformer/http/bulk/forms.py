"""Which form a bulk body has and which its answers get, by Content-Type and Accept.

A request is streamed if its body is NDJSON or Arrow, or if its answers are wanted as NDJSON, Arrow or events. Anything else is an
ordinary request, which is read whole and answered by one document.
"""

from collections.abc import Mapping

from penstock.errors import UnsupportedType

NDJSON = b"application/x-ndjson"
ARROW = b"application/vnd.apache.arrow.stream"
EVENTS = b"text/event-stream"
CSV = b"text/csv"
JSON = b"application/json"

_STREAMED_IN = frozenset({NDJSON, b"application/ndjson", b"application/jsonl", ARROW})
_STREAMED_OUT = (NDJSON, ARROW, EVENTS)
_SAME = {b"application/ndjson": NDJSON, b"application/jsonl": NDJSON}
_IN = (JSON, NDJSON, CSV, ARROW)
_DEFAULT_OUT = {NDJSON: NDJSON, ARROW: ARROW, CSV: NDJSON, JSON: NDJSON}


def kind_of(content_type: bytes | None) -> bytes:
    """The media type without parameters, in lower case and under one name; JSON where nothing is said."""
    if content_type is None:
        return JSON
    kind = content_type.partition(b";")[0].strip().lower()
    return _SAME.get(kind, kind)


def is_streamed(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a predict request is a bulk request; a look at two headers."""
    content_type = headers.get(b"content-type")
    if content_type is not None and content_type != JSON and kind_of(content_type) in _STREAMED_IN:
        return True
    accept = headers.get(b"accept")
    return accept is not None and accept != b"*/*" and any(kind in accept for kind in _STREAMED_OUT)


def form_in(headers: Mapping[bytes, bytes]) -> bytes:
    """The form of the body. Raises UnsupportedType for one that has no streamed answers."""
    kind = kind_of(headers.get(b"content-type"))
    if kind not in _IN:
        wanted = ", ".join(known.decode() for known in _IN)
        raise UnsupportedType(f"streamed answers are for {wanted}, got {kind.decode('latin-1')[:80]!r}", field="Content-Type")
    return kind


def form_out(headers: Mapping[bytes, bytes], given: bytes) -> bytes:
    """The form of the answers: the first that Accept prefers, else the body's own. Raises UnsupportedType if none is accepted."""
    accept = headers.get(b"accept")
    if accept is None:
        return _DEFAULT_OUT[given]
    for kind in preferred(accept):
        if kind in _STREAMED_OUT:
            return kind
        if kind in (b"*/*", b"application/*"):
            return _DEFAULT_OUT[given]
        if kind == b"text/*":
            return EVENTS
    wanted = ", ".join(known.decode() for known in _STREAMED_OUT)
    raise UnsupportedType(f"the answers to such a body are one of {wanted}", field="Accept")


def preferred(accept: bytes) -> list[bytes]:
    """The media types of an Accept header, the most wanted first, those with q=0 left out. (RFC 9110, 12.5.1)"""
    found: list[tuple[float, bytes]] = []
    for part in accept.split(b","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(b";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith(b"q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if kind and quality > 0:
            found.append((-quality, _SAME.get(kind, kind)))
    found.sort(key=lambda entry: entry[0])
    return [kind for _, kind in found]

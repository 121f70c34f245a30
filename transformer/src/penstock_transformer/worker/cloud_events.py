"""An event in CloudEvents' structured mode: one JSON document that holds the attributes and, under `data`, the request.

    {"specversion": "1.0", "id": …, "datacontenttype": …, "data": {"rows": […]} | "data_base64": "…"}  -->  Event

The bytes of `data` are taken out as they are, never decoded and written anew: a number stays the number that was sent.

Source: CloudEvents, JSON event format 1.0.2, sections 2 and 3.
"""

import binascii
from base64 import b64decode

import msgspec

from penstock.errors import InvalidInput
from penstock_transformer.worker.headers import usable_id

STRUCTURED = b"application/cloudevents+json"


class Event(msgspec.Struct, frozen=True, eq=False):
    """What is read of an event. `id` None: it brings none that can be used. `content_type` "" is JSON."""

    id: str | None
    content_type: str
    data: bytes
    traceparent: str | None = None
    header_length: str | None = None


class _Document(msgspec.Struct):
    specversion: str
    id: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | None = None
    traceparent: str | None = None
    inferenceheadercontentlength: int | str | None = None


_decode = msgspec.json.Decoder(_Document).decode


def read_event(value: bytes) -> Event:
    """Raises InvalidInput naming the attribute at fault."""
    try:
        event = _decode(value)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput(f"expected a CloudEvent as JSON: {error}"[:500], field="body") from None
    if not event.specversion.startswith("1."):
        raise InvalidInput(f"expected 1.0, got {event.specversion[:40]!r}", field="specversion")
    length = event.inferenceheadercontentlength
    return Event(
        None if event.id is None else usable_id(event.id.encode("utf-8", "replace")),
        event.datacontenttype or "",
        _data(event),
        event.traceparent,
        None if length is None else str(length),
    )


def _data(event: _Document) -> bytes:
    if event.data is not msgspec.UNSET:
        if event.data_base64 is not None:
            raise InvalidInput("expected data or data_base64, not both", field="data_base64")
        return bytes(event.data)
    if event.data_base64 is None:
        raise InvalidInput("missing; expected a request", field="data")
    try:
        return b64decode(event.data_base64, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("expected base64", field="data_base64") from None

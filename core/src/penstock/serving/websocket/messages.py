"""Messages of a stream: requests out of frames, answers and errors into them.

A message's own headers are parameters of its request under the headers' lower-case names (`penstock-timeout-ms`,
`penstock-priority` ...), because a browser can set none on a WebSocket; they win over the handshake's, which hold for every
message of the connection.
"""

import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from penstock.dataplane import Context, InferRequest, InferResponse
from penstock.errors import InvalidInput, Overloaded, PenstockError
from penstock.protocol import v2
from penstock.protocol.limits import Limits
from penstock.serving.context import context_of
from penstock.serving.status import DEFAULT_RETRY_S, HTTP_STATUS

CONTEXT_HEADERS = (
    b"penstock-timeout-ms",
    b"penstock-priority",
    b"penstock-route-key",
    b"penstock-expect-bundle",
    b"traceparent",
    b"x-request-id",
)
_BY_PARAMETER = {name.decode(): name for name in CONTEXT_HEADERS}
_LENGTH = struct.Struct("<I")


class _Identified(msgspec.Struct):
    id: str | None = None


_find_id = msgspec.json.Decoder(_Identified).decode


def split_binary(message: bytes) -> tuple[bytes, int]:
    """A binary message as a v2 body and the length of its JSON header. Raises InvalidInput if it is too short for that."""
    if len(message) < _LENGTH.size:
        raise InvalidInput(f"expected a u32 header length and v2 JSON behind it, got {len(message)} bytes", field="message")
    length: int = _LENGTH.unpack_from(message)[0]
    left = len(message) - _LENGTH.size
    if not 0 < length <= left:
        raise InvalidInput(f"expected a header length from 1 to {left}, got {length}", field="message")
    return message[_LENGTH.size :], length


def read_request(
    body: bytes, header_length: int | None, model: str, version: str | None, context: Context, limits: Limits
) -> InferRequest:
    """The request of one message. Raises InvalidInput naming the field; an `id` is needed here, answers are matched by it."""
    request = v2.decode_request(body, model=model, version=version, context=context, header_length=header_length, limits=limits)
    if not request.id:
        raise InvalidInput("expected a string that is not empty: answers are matched by it", field="id")
    return request


def own_context(request: InferRequest, headers: Mapping[bytes, bytes], started: float) -> Context | None:
    """The context that a request's parameters ask for, over the handshake's `headers`; None if they ask for none.

    Those parameters are taken out: they are for the way here, not for the model. Raises InvalidInput naming the header.
    """
    given = request.parameters
    if not given or _BY_PARAMETER.keys().isdisjoint(given):
        return None
    request.parameters = {name: value for name, value in given.items() if name not in _BY_PARAMETER} or None
    own = {_BY_PARAMETER[name]: _text(value) for name, value in given.items() if name in _BY_PARAMETER}
    return context_of({**headers, **own}, started)


def id_of(body: bytes, header_length: int | None) -> str | None:
    """The id of a request that could not be read, if that much of it can."""
    try:
        return _find_id(body if header_length is None else body[:header_length]).id
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def encode_answer(response: InferResponse, request: InferRequest) -> tuple[bool, bytes]:
    """Whether the answer is text, and its message. The bundle that answered is its parameter `bundle`."""
    parameters = {**(response.parameters or {}), "bundle": response.bundle}
    named = InferResponse(response.model, response.outputs, response.bundle, response.version, parameters)
    body, header_length = v2.encode_response(named, request)
    if header_length is None:
        return True, body
    return False, _LENGTH.pack(header_length) + body


def encode_error(request_id: str | None, error: PenstockError) -> bytes:
    """The message of a failed request: `{"id", "error", "kind", "status"}`, `field` and `retry_after_ms` where there are any."""
    document: dict[str, Any] = {
        "id": request_id,
        "error": _clean(str(error)),
        "kind": error.kind.value,
        "status": HTTP_STATUS[error.kind],
    }
    if error.field is not None:
        document["field"] = _clean(error.field)
    retry_s = error.retry_after_s if isinstance(error, Overloaded) else DEFAULT_RETRY_S.get(error.kind)
    if retry_s is not None:
        document["retry_after_ms"] = max(1, round(retry_s * 1000))
    return orjson.dumps(document)


def _text(value: Any) -> bytes:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return b"?"
    return str(value).encode("utf-8", "replace")


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()

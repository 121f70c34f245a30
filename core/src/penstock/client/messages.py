"""The messages of a stream, as values: requests into frames, frames into credit, answers and refusals. No I/O.

A text frame is v2 JSON; a binary one a u32 little-endian header length, v2 JSON of that length, and tensors. What HTTP says in
headers a message says in parameters of the same lower-case names, as the server reads them.
"""

import struct
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.client.call import Answer
from penstock.client.inferring import json_request, result_of
from penstock.client.results import Inference
from penstock.dataplane import InferRequest
from penstock.errors import UpstreamUnavailable
from penstock.protocol.v2 import decode_response, encode_request

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Credit:
    """So many more requests may be unanswered."""

    requests: int


@dataclass(frozen=True, slots=True)
class Answered:
    id: str
    result: Inference


@dataclass(frozen=True, slots=True)
class Refused:
    """A failed request, in the form of an HTTP answer; `id` None if the server could not read even that."""

    id: str | None
    answer: Answer


def frame_of(request: InferRequest, headers: dict[str, str], *, binary: bool) -> str | bytes:
    """The frame of a request that has an id; `headers` are those that HTTP would carry."""
    request.parameters = {**(request.parameters or {}), **headers}
    if not binary:
        return json_request(request)[0].decode()
    body, length = encode_request(request)
    return _LENGTH.pack(length) + body


def read_frame(frame: str | bytes) -> Credit | Answered | Refused:
    """What a frame of the server says. Raises UpstreamUnavailable for anything else."""
    if isinstance(frame, str):
        body, length = frame.encode(), None
        document = _object(body)
        if isinstance(document.get("credit"), int):
            return Credit(document["credit"])
        if "error" in document:
            return Refused(document.get("id"), _refusal(document, body))
    else:
        if len(frame) < _LENGTH.size:
            raise UpstreamUnavailable("the server's frame is too short")
        body, length = frame[_LENGTH.size :], _LENGTH.unpack_from(frame)[0]
        document = _object(body[:length])
    if not isinstance(document.get("id"), str):
        raise UpstreamUnavailable("the server's answer names no request")
    response = decode_response(body, length)
    response.bundle = str((response.parameters or {}).get("bundle", ""))
    return Answered(document["id"], result_of(response, "", document["id"]))


def _object(text: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UpstreamUnavailable(f"the server's frame is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise UpstreamUnavailable("the server's frame is no JSON object")
    return document


def _refusal(document: dict[str, Any], body: bytes) -> Answer:
    status, wait_ms = document.get("status"), document.get("retry_after_ms")
    headers = {"retry-after-ms": str(wait_ms)} if isinstance(wait_ms, int) else {}
    return Answer(status if isinstance(status, int) else 500, headers, body)

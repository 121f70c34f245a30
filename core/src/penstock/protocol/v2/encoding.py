"""Answers into bytes: JSON, or a JSON header with binary tensors behind it where the caller asked for that.

Everything of an answer but its id and its data repeats from request to request, so it is kept ready as bytes; the data comes from
the tensors, which convert once for all callers of a batch.
"""

import orjson

from penstock.dataplane import InferRequest, InferResponse
from penstock.tensors import Tensor

HEADS_KEPT = 4096

_heads: dict[tuple[str, str | None], bytes] = {}
_openings: dict[tuple[str, str, tuple[int, ...]], bytes] = {}


def encode_response(response: InferResponse, request: InferRequest) -> tuple[bytes, int | None]:
    """The body that answers `request`, and the length of its JSON header if any output is binary (None: all of it is JSON).

    An output is binary if the request says so for it, or for all and nothing else for it. NaN and infinities are `null` in JSON.
    Raises InvalidInput if an output that JSON cannot hold (FP16, BYTES that are not UTF-8) was not asked for as binary.
    """
    if request.binary_output or (request.outputs is not None and any(output.binary for output in request.outputs)):
        return _encode_mixed(response, request)
    parts = [_head(response, request)]
    for tensor in response.outputs:
        parts += (_opening(tensor), tensor.json, b"]},")
    if response.outputs:
        parts[-1] = b"]}"
    parts.append(b"]}")
    return b"".join(parts), None


def _head(response: InferResponse, request: InferRequest) -> bytes:
    """The JSON up to the first output: `{"model_name":…,"model_version":…,"id":…,"parameters":…,"outputs":[`."""
    head = _heads.get((response.model, response.version))
    if head is None:
        version = b',"model_version":' + orjson.dumps(response.version) if response.version is not None else b""
        head = b'{"model_name":' + orjson.dumps(response.model) + version
        if len(_heads) >= HEADS_KEPT:
            _heads.clear()
        _heads[response.model, response.version] = head
    if request.id is not None:
        head += b',"id":' + orjson.dumps(request.id)
    if response.parameters:
        head += b',"parameters":' + orjson.dumps(response.parameters)
    return head + b',"outputs":['


def _opening(tensor: Tensor) -> bytes:
    """The JSON of one output up to its data: `{"name":…,"datatype":…,"shape":…,"data":[`."""
    opening = _openings.get((tensor.name, tensor.datatype, tensor.shape))
    if opening is None:
        described = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        opening = orjson.dumps(described)[:-1] + b',"data":['
        if len(_openings) >= HEADS_KEPT:
            _openings.clear()
        _openings[tensor.name, tensor.datatype, tensor.shape] = opening
    return opening


def _encode_mixed(response: InferResponse, request: InferRequest) -> tuple[bytes, int | None]:
    """The header and the binary tensors behind it."""
    forms = {output.name: output.binary for output in request.outputs or ()}
    head = [_head(response, request)]
    tail: list[bytes | memoryview] = []
    for at, tensor in enumerate(response.outputs):
        opening = _opening(tensor)
        if at:
            head.append(b",")
        binary = forms.get(tensor.name)
        if binary if binary is not None else request.binary_output:
            raw = tensor.raw
            size = b"%d" % len(raw)
            head.append(opening[: -len(b'"data":[')] + b'"parameters":{"binary_data_size":' + size + b"}}")
            tail.append(raw)
        else:
            head += [opening, tensor.json, b"]}"]
    head.append(b"]}")
    header = b"".join(head)
    if not tail:
        return header, None
    return b"".join([header, *tail]), len(header)

"""Answers into bytes: JSON, or a JSON header with binary tensors behind it where the caller asked for that.

Everything of an answer but its id and its data repeats from request to request, so it is kept ready as bytes; the data comes from
the tensors, which convert once for all callers of a batch.
"""

import orjson

from penstock.dataplane import InferRequest, InferResponse
from penstock.tensors import Tensor

HEADS_KEPT = 4096

_heads: dict[tuple[str, str | None], bytes] = {}
_leads: dict[tuple[str, str | None, str, str, tuple[int, ...], int | None], bytes] = {}
_openings: dict[tuple[str, str, tuple[int, ...]], bytes] = {}
_binary_items: dict[tuple[str, str, tuple[int, ...], int], bytes] = {}


def encode_response(response: InferResponse, request: InferRequest) -> tuple[bytes, int | None]:
    """The body that answers `request`, and the length of its JSON header if any output is binary (None: all of it is JSON).

    An output is binary if the request says so for it, or for all and nothing else for it. NaN and infinities are `null` in JSON.
    Raises InvalidInput if an output that JSON cannot hold (FP16, BYTES that are not UTF-8) was not asked for as binary.
    """
    if len(response.outputs) != 1:
        return _encode_several(response, request)
    tensor = response.outputs[0]
    if not _is_binary(tensor.name, request):
        return b"".join((_lead(response, request, tensor, None), tensor.json, b"]}]}")), None
    raw = tensor.raw
    header = _lead(response, request, tensor, len(raw))
    return b"".join((header, raw)), len(header)


def _is_binary(name: str, request: InferRequest) -> bool:
    """Whether a request wants an output as binary: the last time that it names it counts."""
    if request.outputs is not None:
        for output in reversed(request.outputs):
            if output.name == name:
                return request.binary_output if output.binary is None else output.binary
    return request.binary_output


def _encode_several(response: InferResponse, request: InferRequest) -> tuple[bytes, int | None]:
    """Any number of outputs: the header and the binary tensors behind it."""
    items: list[bytes] = []
    tail: list[bytes | memoryview] = []
    for tensor in response.outputs:
        if _is_binary(tensor.name, request):
            raw = tensor.raw
            items.append(binary_item(tensor, len(raw)))
            tail.append(raw)
        else:
            items.append(_opening(tensor) + tensor.json + b"]}")
    header = b"".join((_head(response, request), b",".join(items), b"]}"))
    if not tail:
        return header, None
    return b"".join((header, *tail)), len(header)


def _lead(response: InferResponse, request: InferRequest, tensor: Tensor, binary_bytes: int | None) -> bytes:
    """The JSON of an answer of one output up to its data; all of it if the data follows as so many bytes."""
    key = None
    if request.id is None and not response.parameters:
        key = (response.model, response.version, tensor.name, tensor.datatype, tensor.shape, binary_bytes)
        if (lead := _leads.get(key)) is not None:
            return lead
    item = _opening(tensor) if binary_bytes is None else binary_item(tensor, binary_bytes) + b"]}"
    lead = _head(response, request) + item
    if key is not None:
        if len(_leads) >= HEADS_KEPT:
            _leads.clear()
        _leads[key] = lead
    return lead


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
    key = (tensor.name, tensor.datatype, tensor.shape)
    opening = _openings.get(key)
    if opening is None:
        if len(_openings) >= HEADS_KEPT:
            _openings.clear()
        opening = _openings[key] = _described(tensor) + b',"data":['
    return opening


def binary_item(tensor: Tensor, length: int) -> bytes:
    """The whole JSON of one binary output: `{"name":…,"datatype":…,"shape":…,"parameters":{"binary_data_size":…}}`."""
    key = (tensor.name, tensor.datatype, tensor.shape, length)
    item = _binary_items.get(key)
    if item is None:
        if len(_binary_items) >= HEADS_KEPT:
            _binary_items.clear()
        item = _binary_items[key] = _described(tensor) + b',"parameters":{"binary_data_size":%d}}' % length
    return item


def _described(tensor: Tensor) -> bytes:
    return orjson.dumps({"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)})[:-1]

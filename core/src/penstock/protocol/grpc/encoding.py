"""An InferResponse as a ModelInferResponse, in the form that its request came in.

Raw in, raw out; typed in, typed out, unless an output is FP16: that has no typed form, and the protocol mixes none, so then all
are raw.
"""

from typing import Any

from penstock.dataplane import InferRequest, InferResponse
from penstock.protocol.grpc.contents import LISTS, fill_contents
from penstock.protocol.grpc.messages import ModelInferResponse
from penstock.protocol.grpc.parameters import write_parameters

HEADS_KEPT = 1024
HEAD_BYTES = 4096

# The tags of ModelInferResponse's fields 3 (id) and 6 (raw_output_contents), both of wire type 2.
_ID = b"\x1a"
_RAW = b"\x32"

_heads: dict[tuple[Any, ...], bytes] = {}


def encode_response(response: InferResponse, request: InferRequest) -> bytes:
    """The serialized answer to `request`."""
    outputs = response.outputs
    if response.parameters or not (request.binary_output or any(tensor.datatype not in LISTS for tensor in outputs)):
        made: bytes = response_of(response, request).SerializeToString()
        return made
    # Fields in a message may follow one another in any order and pieces: what answers of one form share is kept as bytes.
    parts: list[bytes | memoryview] = [_head(response)]
    if request.id is not None:
        identity = request.id.encode()
        parts += (_ID, _varint(len(identity)), identity)
    for tensor in outputs:
        raw = tensor.raw
        parts += (_RAW, _varint(len(raw)), raw)
    return b"".join(parts)


def _head(response: InferResponse) -> bytes:
    """An answer without its id and its tensors' data."""
    key = (response.model, response.version, *((tensor.name, tensor.datatype, tensor.shape) for tensor in response.outputs))
    head = _heads.get(key)
    if head is None:
        wire = ModelInferResponse(model_name=response.model, model_version=response.version or "")
        for tensor in response.outputs:
            wire.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        head = bytes(wire.SerializeToString())
        if len(head) <= HEAD_BYTES:
            if len(_heads) >= HEADS_KEPT:
                _heads.clear()
            _heads[key] = head
    return head


def _varint(value: int) -> bytes:
    """A length as protobuf writes it."""
    if value < 0x80:
        return bytes((value,))
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def response_of(response: InferResponse, request: InferRequest) -> Any:
    """The answer to `request` as a message."""
    outputs = response.outputs
    raw = request.binary_output or any(tensor.datatype not in LISTS for tensor in outputs)
    wire = ModelInferResponse(model_name=response.model, model_version=response.version or "", id=request.id or "")
    if response.parameters:
        write_parameters(response.parameters, wire.parameters)
    add = wire.outputs.add
    for tensor in outputs:
        output = add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if not raw:
            fill_contents(tensor, output.contents)
    if raw:
        wire.raw_output_contents.extend([_bytes(tensor.raw) for tensor in outputs])
    return wire


def _bytes(raw: bytes | memoryview) -> bytes:
    return raw if isinstance(raw, bytes) else bytes(raw)

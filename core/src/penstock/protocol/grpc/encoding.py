"""An InferResponse as a ModelInferResponse, in the form that its request came in.

Raw in, raw out; typed in, typed out, unless an output is FP16: that has no typed form, and the protocol mixes none, so then all
are raw.
"""

from typing import Any

from penstock.dataplane import InferRequest, InferResponse
from penstock.protocol.grpc.contents import LISTS, fill_contents
from penstock.protocol.grpc.messages import ModelInferResponse
from penstock.protocol.grpc.parameters import write_parameters


def encode_response(response: InferResponse, request: InferRequest) -> bytes:
    """The serialized answer to `request`."""
    made: bytes = response_of(response, request).SerializeToString()
    return made


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

"""The other side of the protocol: requests into bytes and answers out of them, all tensors binary.

This is the hop from the transformer to the predictor, and what the command line sends. An answer that is malformed is the
upstream's fault, not the caller's: it raises UpstreamUnavailable, never InvalidInput.
"""

from typing import Any

import orjson

from penstock.dataplane import InferRequest, InferResponse
from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.protocol.limits import Limits
from penstock.protocol.reading import read_object
from penstock.protocol.v2.validation import read_tensors

_LIMITS = Limits(body_bytes=1 << 31, elements=1 << 29, rows=1 << 29, tensors=1 << 16)


def encode_request(request: InferRequest) -> tuple[bytes, int]:
    """The body and the length of its JSON header: every tensor binary, and every output asked for as binary."""
    document: dict[str, Any] = {} if request.id is None else {"id": request.id}
    document["parameters"] = {**(request.parameters or {}), "binary_data_output": True}
    raws = [tensor.raw for tensor in request.inputs]
    document["inputs"] = [
        {"name": t.name, "shape": t.shape, "datatype": t.datatype, "parameters": {"binary_data_size": len(raw)}}
        for t, raw in zip(request.inputs, raws, strict=True)
    ]
    if request.outputs is not None:
        document["outputs"] = [
            {"name": output.name, "parameters": {**output.parameters, "binary_data": True}} for output in request.outputs
        ]
    header = orjson.dumps(document)
    return b"".join([header, *raws]), len(header)


def decode_response(body: bytes, header_length: int | None, *, bundle: str = "", limits: Limits = _LIMITS) -> InferResponse:
    """An answer out of its body; large tensors are views of it. `bundle` is what the answer's `Penstock-Bundle` header says.

    `header_length` None: all of it is JSON. Raises UpstreamUnavailable if the body is not an answer of the protocol.
    """
    try:
        limits.check_body(len(body))
        if header_length is not None and not 0 < header_length <= len(body):
            raise InvalidInput(f"expected 1 to {len(body)}, got {header_length}", field="Inference-Header-Content-Length")
        header = body if header_length is None else body[:header_length]
        document = read_object(header)
        outputs = read_tensors(document, "outputs", header, None if header_length is None else body, limits)
        model, version, parameters = document.get("model_name"), document.get("model_version"), document.get("parameters")
        if not isinstance(model, str):
            raise InvalidInput("expected a string", field="model_name")
        known = isinstance(version, str | None) and isinstance(parameters, dict | None)
        if not known:
            raise InvalidInput("expected a string and an object, or nothing", field="model_version, parameters")
    except InvalidInput as error:
        raise UpstreamUnavailable(f"the model server's answer is not one of the protocol: {error}") from error
    return InferResponse(model, outputs, bundle=bundle, version=version, parameters=parameters or None)

"""The other side of the protocol: requests into bytes and answers out of them, all tensors binary.

This is the hop from the transformer to the predictor, and what the command line sends. An answer that is malformed is the
upstream's fault, not the caller's: it raises UpstreamUnavailable, never InvalidInput.

The JSON header of an answer is the same for every answer of the same shapes, so what was read of it is kept by its bytes.
"""

from typing import Any

import orjson

from penstock.dataplane import InferRequest, InferResponse
from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.protocol.limits import Limits
from penstock.protocol.reading import read_object
from penstock.protocol.v2.binary import tensor_of_bytes
from penstock.protocol.v2.encoding import binary_item
from penstock.protocol.v2.plans import Plan, plan_of
from penstock.protocol.v2.validation import read_tensors

UPSTREAM_LIMITS = Limits(body_bytes=1 << 31, elements=1 << 29, rows=1 << 29, tensors=1 << 16)
"""What an answer may hold: our own predictor is trusted further than a caller, not without end."""

LAYOUTS_KEPT = 256
LAYOUT_BYTES = 4096

# An answer's header -> the document without its outputs, and where each output lies in the body.
_layouts: dict[bytes, tuple[dict[str, Any], list[tuple[Plan, int, int]]]] = {}


def encode_request(request: InferRequest) -> tuple[bytes, int]:
    """The body and the length of its JSON header: every tensor binary, and every output asked for as binary."""
    raws = [tensor.raw for tensor in request.inputs]
    items = [binary_item(tensor, len(raw)) for tensor, raw in zip(request.inputs, raws, strict=True)]
    parts = [b'{"parameters":{"binary_data_output":true}']
    if request.parameters:
        parts[0] = b'{"parameters":' + orjson.dumps({**request.parameters, "binary_data_output": True})
    if request.id is not None:
        parts.append(b'"id":' + orjson.dumps(request.id))
    if request.outputs is not None:
        outputs = [{"name": output.name, "parameters": {**output.parameters, "binary_data": True}} for output in request.outputs]
        parts.append(b'"outputs":' + orjson.dumps(outputs))
    parts.append(b'"inputs":[' + b",".join(items) + b"]}")
    header = b",".join(parts)
    return b"".join((header, *raws)), len(header)


def decode_response(
    body: bytes, header_length: int | None, *, bundle: str = "", limits: Limits = UPSTREAM_LIMITS
) -> InferResponse:
    """An answer out of its body; large tensors are views of it. `bundle` is what the answer's `Penstock-Bundle` header says.

    `header_length` None: all of it is JSON. Answers of one form share `parameters`: read-only.
    Raises UpstreamUnavailable if the body is not an answer of the protocol.
    """
    try:
        limits.check_body(len(body))
        if header_length is not None and not 0 < header_length <= len(body):
            raise InvalidInput(f"expected 1 to {len(body)}, got {header_length}", field="Inference-Header-Content-Length")
        header = body if header_length is None else body[:header_length]
        known = _layouts.get(header) if header_length is not None else None
        if known is not None and known[1][-1][2] == len(body) and known[1][0][0].limits is limits:
            document, places = known
            outputs = [tensor_of_bytes(plan, body, start, stop, plan.name) for plan, start, stop in places]
        else:
            document = read_object(header)
            outputs = read_tensors(document, "outputs", header, None if header_length is None else body, limits)
            _check(document)
            if header_length is not None:
                _keep(header, document, limits)
    except InvalidInput as error:
        raise UpstreamUnavailable(f"the model server's answer is not one of the protocol: {error}") from error
    model, version, parameters = document["model_name"], document.get("model_version"), document.get("parameters")
    return InferResponse(model, outputs, bundle=bundle, version=version, parameters=parameters or None)


def _check(document: dict[str, Any]) -> None:
    if not isinstance(document.get("model_name"), str):
        raise InvalidInput("expected a string", field="model_name")
    if not isinstance(document.get("model_version"), str | None):
        raise InvalidInput("expected a string, or nothing", field="model_version")
    if not isinstance(document.get("parameters"), dict | None):
        raise InvalidInput("expected an object, or nothing", field="parameters")


def _keep(header: bytes, document: dict[str, Any], limits: Limits) -> None:
    """Keep the layout of an answer that was read, if the same header can come again and all of its outputs are binary."""
    items = document.pop("outputs")
    if len(header) > LAYOUT_BYTES or document.get("id") is not None or not items or any("data" in item for item in items):
        return
    start = len(header)
    places: list[tuple[Plan, int, int]] = []
    for item in items:
        stop = start + item["parameters"]["binary_data_size"]
        places.append((plan_of(item["name"], item["datatype"], tuple(item["shape"]), limits), start, stop))
        start = stop
    if len(_layouts) >= LAYOUTS_KEPT:
        _layouts.clear()
    _layouts[header] = (document, places)

"""Requests out of their bytes: the plain form fast, the less plain less fast, and every fault through the slow validator.

    plain --not plain--> loose --no--> validation

Plain is what clients send nearly always: flat lists of numbers or strings, or tensors that are all binary. Typed decoding and
the packer of a plan check such a request completely while they convert it. Loose adds nested lists, nulls and bools, whose types
are looked at. Whatever neither takes (mixed bodies, and every fault) is decoded again by `validation`, which accepts it or says
what is wrong with it and where. So speed never decides what is valid: the faster ways accept a part, and never refuse.
"""

import struct
from typing import Any

import msgspec

from penstock.dataplane import Context, InferRequest, RequestedOutput
from penstock.errors import InvalidInput
from penstock.protocol.limits import Limits
from penstock.protocol.v2.binary import COPY_BELOW, tensor_of_bytes
from penstock.protocol.v2.elements import tensor_of_json
from penstock.protocol.v2.plans import Plan, plan_of
from penstock.protocol.v2.validation import SHARED_MEMORY, Scalar, validate_request
from penstock.tensors import RawTensor, Tensor


class _Input(msgspec.Struct, gc=False):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[int | float | str] | None = None
    parameters: dict[str, Scalar] | None = None


class _LooseInput(msgspec.Struct, gc=False):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any = None
    parameters: dict[str, Scalar] | None = None


class _Output(msgspec.Struct, gc=False):
    name: str
    parameters: dict[str, Scalar] | None = None


class _Request(msgspec.Struct, gc=False):
    inputs: list[_Input]
    id: str | None = None
    parameters: dict[str, Scalar] | None = None
    outputs: list[_Output] | None = None


class _LooseRequest(msgspec.Struct, gc=False):
    inputs: list[_LooseInput]
    id: str | None = None
    parameters: dict[str, Scalar] | None = None
    outputs: list[_Output] | None = None


class _Layout:
    """A binary request's header, understood: where each tensor lies in the body behind it, and what else the request asks."""

    __slots__ = ("binary_output", "end", "limits", "outputs", "parameters", "places")

    def __init__(self, limits: Limits, places: list[tuple[Plan, int, int]], end: int, asked: InferRequest) -> None:
        self.limits = limits
        self.places = places
        self.end = end
        self.outputs = asked.outputs
        self.parameters = asked.parameters
        self.binary_output = asked.binary_output


LAYOUTS_KEPT = 256
# A header of about eighty tensors: models with raw features have one for each.
LAYOUT_BYTES = 8192

_layouts: dict[bytes, _Layout] = {}
_decode = msgspec.json.Decoder(_Request).decode
_decode_loose = msgspec.json.Decoder(_LooseRequest).decode
_TEXT = {str}
_NOT_PLAIN = (
    msgspec.MsgspecError,
    UnicodeDecodeError,
    RecursionError,
    struct.error,
    OverflowError,
    InvalidInput,
    KeyError,
    TypeError,
)


def decode_request(
    body: bytes, *, model: str, version: str | None, context: Context, header_length: int | None, limits: Limits
) -> InferRequest:
    """A request out of its body: JSON if `header_length` is None, else that many bytes of JSON and the binary tensors behind it.

    Requests of one form share `outputs` and `parameters`: read-only. Raises InvalidInput or TooLarge, naming the field.
    """
    if len(body) > limits.body_bytes:
        limits.check_body(len(body))
    if header_length is not None:
        return _decode_binary(body, model, version, context, header_length, limits)
    if not (body.isascii() or _is_text(body)):
        return validate_request(body, None, model, version, context, limits)
    try:
        plain = _decode(body)
        inputs: list[Tensor] = []
        for item in plain.inputs:
            plan = plan_of(item.name, item.datatype, item.shape, limits)
            if item.parameters is not None and "binary_data_size" in item.parameters:
                return validate_request(body, None, model, version, context, limits)
            data = item.data
            if plan.pack is not None:
                inputs.append(RawTensor(plan.name, plan.datatype, plan.shape, plan.pack(*data)))  # type: ignore[misc]
            elif plan.datatype == "BYTES" and len(data) == plan.size and set(map(type, data)) <= _TEXT:  # type: ignore[arg-type]
                inputs.append(Tensor.from_flat(plan.name, "BYTES", plan.shape, data))  # type: ignore[arg-type]
            else:
                return _decode_less_plain(body, model, version, context, limits)
        if len(inputs) == 1 and plain.id is None and plain.parameters is None and plain.outputs is None:
            return InferRequest(model, inputs, context, version=version)
        request = _plain_request(plain, inputs, model, version, context, limits)
    except _NOT_PLAIN:
        request = None
    return request or _decode_less_plain(body, model, version, context, limits)


def _is_text(body: bytes) -> bool:
    """Whether it is UTF-8 to its end. Typed decoding does not look at the names of members that it skips."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decode_less_plain(body: bytes, model: str, version: str | None, context: Context, limits: Limits) -> InferRequest:
    """JSON with nested lists, nulls or bools; whatever else it may be, the slow validator says."""
    try:
        loose = _decode_loose(body)
        inputs: list[Tensor] = []
        for item in loose.inputs:
            if item.parameters is not None and "binary_data_size" in item.parameters:
                return validate_request(body, None, model, version, context, limits)
            inputs.append(tensor_of_json(plan_of(item.name, item.datatype, item.shape, limits), item.data, "data"))
        request = _plain_request(loose, inputs, model, version, context, limits)
    except _NOT_PLAIN:
        request = None
    return request or validate_request(body, None, model, version, context, limits)


def _plain_request(
    plain: _Request | _LooseRequest, inputs: list[Tensor], model: str, version: str | None, context: Context, limits: Limits
) -> InferRequest | None:
    """The request if it is plain around its tensors too, else None."""
    count = len(inputs)
    if not count or count > limits.tensors or (count > 1 and len({tensor.name for tensor in inputs}) != count):
        return None
    if plain.id is not None and len(plain.id) > limits.name_bytes:
        return None
    request = InferRequest(model, inputs, context, version=version, id=plain.id)
    if plain.parameters or plain.outputs:
        return _add_options(request, plain, limits)
    return request


def _add_options(request: InferRequest, plain: _Request | _LooseRequest, limits: Limits) -> InferRequest | None:
    """Parameters and requested outputs of the plain form: `binary_data_output` and `binary_data` as bools, no name twice."""
    if plain.parameters:
        parameters = dict(plain.parameters)
        binary = parameters.pop("binary_data_output", False)
        if type(binary) is not bool:
            return None
        request.binary_output = binary
        request.parameters = parameters or None
    if plain.outputs:
        outputs: list[RequestedOutput] = []
        for item in plain.outputs:
            own = dict(item.parameters) if item.parameters else {}
            form = own.pop("binary_data", None)
            if (form is not None and type(form) is not bool) or len(item.name) > limits.name_bytes or SHARED_MEMORY in own:
                return None
            outputs.append(RequestedOutput(item.name, form, own))
        if len(outputs) > limits.tensors or len({output.name for output in outputs}) != len(outputs):
            return None
        request.outputs = outputs
    return request


def _decode_binary(
    body: bytes, model: str, version: str | None, context: Context, header_length: int, limits: Limits
) -> InferRequest:
    if not 0 < header_length <= len(body):
        raise InvalidInput(
            f"expected 1 to {len(body)} (the body's length), got {header_length}", field="Inference-Header-Content-Length"
        )
    header = body[:header_length]
    layout = _layouts.get(header)
    if layout is None or layout.limits is not limits:
        return _decode_binary_header(body, header, model, version, context, limits)
    if layout.end != len(body):
        return validate_request(header, body, model, version, context, limits)
    inputs: list[Tensor] = []
    for plan, start, stop in layout.places:
        if plan.pack is not None and stop - start <= COPY_BELOW:
            inputs.append(RawTensor(plan.name, plan.datatype, plan.shape, body[start:stop]))
        else:
            inputs.append(tensor_of_bytes(plan, body, start, stop, f"inputs[{len(inputs)}].data"))
    request = InferRequest(model, inputs, context, version=version, outputs=layout.outputs, parameters=layout.parameters)
    request.binary_output = layout.binary_output
    return request


def _decode_binary_header(
    body: bytes, header: bytes, model: str, version: str | None, context: Context, limits: Limits
) -> InferRequest:
    """A header not seen before: its layout, kept if the same bytes can come again (an id is different every time)."""
    if not _is_text(header):
        return validate_request(header, body, model, version, context, limits)
    try:
        plain = _decode(header)
        places: list[tuple[Plan, int, int]] = []
        inputs: list[Tensor] = []
        start = len(header)
        for item in plain.inputs:
            plan = plan_of(item.name, item.datatype, item.shape, limits)
            size = item.parameters["binary_data_size"]  # type: ignore[index]
            if item.data is not None or type(size) is not int or size < 0 or start + size > len(body):
                return validate_request(header, body, model, version, context, limits)
            if plan.pack is not None and plan.nbytes == size <= COPY_BELOW:
                inputs.append(RawTensor(plan.name, plan.datatype, plan.shape, body[start : start + size]))
            else:
                inputs.append(tensor_of_bytes(plan, body, start, start + size, "data"))
            places.append((plan, start, start + size))
            start += size
        request = _plain_request(plain, inputs, model, version, context, limits) if start == len(body) else None
    except _NOT_PLAIN:
        request = None
    if request is None:
        return validate_request(header, body, model, version, context, limits)
    if request.id is None and len(header) <= LAYOUT_BYTES:
        if len(_layouts) >= LAYOUTS_KEPT:
            _layouts.clear()
        _layouts[header] = _Layout(limits, places, start, request)
    return request

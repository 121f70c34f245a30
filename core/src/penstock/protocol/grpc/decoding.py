"""A ModelInferRequest out of its bytes, into the InferRequest that a DataPlane takes.

Two forms, never mixed: `raw_input_contents` holds every input in the protocol's binary form, in order, or each input has its
typed `contents`. Which it was decides the form of the answer (`binary_output`).

Invariant: whatever the bytes are, what is raised is an InvalidInput or TooLarge that names the field at fault.
"""

from typing import Any

from google.protobuf.message import DecodeError

from penstock.dataplane import Context, InferRequest, RequestedOutput
from penstock.errors import InvalidInput, TooLarge
from penstock.protocol.grpc.contents import tensor_of_contents
from penstock.protocol.grpc.messages import ModelInferRequest
from penstock.protocol.grpc.parameters import read_parameters
from penstock.protocol.limits import Limits
from penstock.protocol.v2.plans import Plan, plan_of
from penstock.protocol.wording import describe, quote
from penstock.tensors import DATATYPES, RawTensor, Tensor, unpack_bytes

_SHARED_MEMORY = "shared_memory_region"


def parse(kind: Any, message: bytes) -> Any:
    """A message of `kind` out of its bytes. Raises InvalidInput if it is not one."""
    try:
        return kind.FromString(message)
    except (DecodeError, RecursionError):
        raise InvalidInput(f"expected a {kind.DESCRIPTOR.full_name}, got {len(message)} bytes that are none") from None


def decode_request(message: bytes, *, context: Context, limits: Limits) -> InferRequest:
    """A request out of a serialized ModelInferRequest. Raises InvalidInput or TooLarge, naming the field."""
    return request_of(parse(ModelInferRequest, message), context=context, limits=limits)


def request_of(wire: Any, *, context: Context, limits: Limits) -> InferRequest:
    """A request out of a ModelInferRequest. Raises InvalidInput or TooLarge, naming the field."""
    # Slices are lists: going over protobuf's own sequences costs three times as much, for the exception that ends it.
    items = wire.inputs[:]
    raws = wire.raw_input_contents[:]
    if not items:
        raise InvalidInput("expected at least one tensor, got none", field="inputs")
    if len(items) > limits.tensors:
        raise TooLarge(f"expected at most {limits.tensors} tensors, got {len(items)}", field="inputs")
    inputs: list[Tensor] = []
    if raws:
        if len(raws) != len(items):
            _refuse_shared_memory(items, "inputs")
            raise InvalidInput(f"expected {len(items)} entries, one for each input, got {len(raws)}", field="raw_input_contents")
        for at, item in enumerate(items):
            if item.HasField("contents"):
                raise InvalidInput("expected either raw_input_contents or contents, got both", field=f"inputs[{at}].contents")
            inputs.append(_raw_tensor(_plan(item, at, limits), raws[at], f"raw_input_contents[{at}]"))
    else:
        _refuse_shared_memory(items, "inputs")
        inputs.extend(
            tensor_of_contents(_plan(item, at, limits), item.contents, f"inputs[{at}].contents") for at, item in enumerate(items)
        )
    if len(inputs) > 1:
        _check_names([tensor.name for tensor in inputs], "inputs")
    identity = wire.id
    if len(identity) > limits.name_bytes:
        raise TooLarge(f"expected at most {limits.name_bytes} characters, got {len(identity)}", field="id")
    return InferRequest(
        wire.model_name,
        inputs,
        context,
        version=wire.model_version or None,
        id=identity or None,
        outputs=_outputs(wire.outputs, limits) if wire.outputs else None,
        parameters=read_parameters(wire.parameters, "parameters") if wire.parameters else None,
        binary_output=bool(raws),
    )


def _plan(item: Any, at: int, limits: Limits) -> Plan:
    """The plan of one input; a fault is looked for again only once there is one, to name its place."""
    shape = tuple(item.shape[:])
    try:
        return plan_of(item.name, item.datatype, shape, limits)
    except InvalidInput:
        field = f"inputs[{at}]"
        if not item.name:
            raise InvalidInput("expected a name, got an empty string", field=f"{field}.name") from None
        if len(item.name) > limits.name_bytes:
            raise TooLarge(
                f"expected at most {limits.name_bytes} characters, got {len(item.name)}", field=f"{field}.name"
            ) from None
        if item.datatype not in DATATYPES:
            raise InvalidInput(
                f"expected one of {', '.join(DATATYPES)}, got {describe(item.datatype)}", field=f"{field}.datatype"
            ) from None
        limits.check_shape(shape, f"{field}.shape")
        raise


def _raw_tensor(plan: Plan, raw: bytes, field: str) -> Tensor:
    if plan.nbytes < 0:
        return Tensor.from_flat(plan.name, "BYTES", plan.shape, list(unpack_bytes(raw, plan.size, field)))
    if len(raw) != plan.nbytes:
        raise InvalidInput(f"expected {plan.nbytes} bytes for {plan.datatype} {list(plan.shape)}, got {len(raw)}", field=field)
    if plan.datatype == "BOOL" and raw.strip(b"\0\1"):
        raise InvalidInput("expected bytes of 0 and 1 only", field=field)
    return RawTensor(plan.name, plan.datatype, plan.shape, raw)


def _outputs(items: Any, limits: Limits) -> list[RequestedOutput]:
    if len(items) > limits.tensors:
        raise TooLarge(f"expected at most {limits.tensors} outputs, got {len(items)}", field="outputs")
    _refuse_shared_memory(items, "outputs")
    outputs = []
    for at, item in enumerate(items):
        if not item.name or len(item.name) > limits.name_bytes:
            raise InvalidInput(f"expected a name of 1 to {limits.name_bytes} characters", field=f"outputs[{at}].name")
        outputs.append(RequestedOutput(item.name, None, read_parameters(item.parameters, f"outputs[{at}].parameters")))
    _check_names([output.name for output in outputs], "outputs")
    return outputs


def _refuse_shared_memory(items: Any, field: str) -> None:
    """A caller who put its tensor into shared memory, or waits for one there, must not be answered as if it had not."""
    for at, item in enumerate(items):
        if item.parameters and _SHARED_MEMORY in item.parameters:
            raise InvalidInput("shared memory is not offered here", field=f"{field}[{at}].parameters.{_SHARED_MEMORY}")


def _check_names(names: list[str], field: str) -> None:
    if len(set(names)) == len(names):
        return
    places: dict[str, int] = {}
    for at, name in enumerate(names):
        if name in places:
            raise InvalidInput(f"{quote(name)} is already the name of {field}[{places[name]}]", field=f"{field}[{at}].name")
        places[name] = at

"""The slow validator: any body at all in, an InferRequest or an error that names the field out.

It decides what is valid; `decoding` only knows a faster way for the plain form. It reads JSON without a schema and looks at every
part by hand, because a message such as `inputs[1].shape: expected an array of integers, got "4"` needs to know where it is.
"""

from typing import Any

from penstock.dataplane import Context, InferRequest, RequestedOutput
from penstock.errors import InvalidInput, TooLarge
from penstock.protocol.limits import Limits
from penstock.protocol.reading import read_object
from penstock.protocol.v2.binary import tensor_of_bytes
from penstock.protocol.v2.elements import tensor_of_json
from penstock.protocol.v2.plans import Plan, plan_of
from penstock.protocol.wording import describe, quote
from penstock.tensors import DATATYPES, Tensor

Scalar = str | int | float | bool
SHARED_MEMORY = "shared_memory_region"
"""The parameter by which Triton's clients name a region of shared memory in place of data."""


def validate_request(
    header: bytes, body: bytes | None, model: str, version: str | None, context: Context, limits: Limits
) -> InferRequest:
    """A request out of its JSON; `body` is `header` and the binary tensors behind it, None if the request is JSON alone."""
    document = read_object(header)
    request_id = document.get("id")
    if request_id is not None:
        _check_text(request_id, limits.name_bytes, "id")
    inputs = read_tensors(document, "inputs", header, body, limits)
    if not inputs:
        raise InvalidInput("expected at least one tensor, got none", field="inputs")
    parameters = _read_parameters(document, "parameters")
    request = InferRequest(model, inputs, context, version=version, id=request_id)
    request.binary_output = _take_bool(parameters, "binary_data_output", "parameters") or False
    request.parameters = parameters or None
    request.outputs = _read_outputs(document.get("outputs"), limits)
    return request


def read_tensors(document: dict[str, Any], key: str, header: bytes, body: bytes | None, limits: Limits) -> list[Tensor]:
    """The tensors listed under `key`, in order; binary ones lie in `body` behind `header`, in the same order."""
    items = document.get(key)
    if not isinstance(items, list):
        what = describe(items) if key in document else "nothing"
        raise InvalidInput(f"expected an array of tensors, got {what}", field=key)
    if len(items) > limits.tensors:
        raise TooLarge(f"expected at most {limits.tensors} tensors, got {len(items)}", field=key)
    tensors: list[Tensor] = []
    places: dict[str, int] = {}
    start = len(header)
    for at, item in enumerate(items):
        field = f"{key}[{at}]"
        plan = _read_plan(item, field, limits)
        if plan.name in places:
            raise InvalidInput(f"{quote(plan.name)} is already the name of {key}[{places[plan.name]}]", field=f"{field}.name")
        places[plan.name] = at
        size = _binary_size(item, field, body)
        if size is None:
            tensors.append(tensor_of_json(plan, item.get("data"), f"{field}.data"))
            continue
        left = len(body or b"") - start
        if size > left:
            where = f"{field}.parameters.binary_data_size"
            raise InvalidInput(f"claims {size} bytes, {left} are left behind the JSON header", field=where)
        tensors.append(tensor_of_bytes(plan, body or b"", start, start + size, f"{field}.data"))
        start += size
    if body is not None and start != len(body):
        raise InvalidInput(
            f"{len(body) - start} bytes are left behind the last binary tensor", field="Inference-Header-Content-Length"
        )
    return tensors


def _read_plan(item: Any, field: str, limits: Limits) -> Plan:
    """Name, datatype and shape of one tensor."""
    if not isinstance(item, dict):
        raise InvalidInput(f"expected an object, got {describe(item)}", field=field)
    name, datatype, shape = (_required(item, key, field) for key in ("name", "datatype", "shape"))
    _check_text(name, limits.name_bytes, f"{field}.name")
    if not name:
        raise InvalidInput("expected a name, got an empty string", field=f"{field}.name")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise InvalidInput(f"expected one of {', '.join(DATATYPES)}, got {describe(datatype)}", field=f"{field}.datatype")
    if not isinstance(shape, list):
        raise InvalidInput(f"expected an array of integers, got {describe(shape)}", field=f"{field}.shape")
    for at, size in enumerate(shape):
        if type(size) is not int:
            raise InvalidInput(f"expected an integer, got {describe(size)}", field=f"{field}.shape[{at}]")
    limits.check_shape(tuple(shape), f"{field}.shape")
    return plan_of(name, datatype, tuple(shape), limits)


def _binary_size(item: dict[str, Any], field: str, body: bytes | None) -> int | None:
    """`binary_data_size` of a tensor, None if its data is in the JSON."""
    parameters = _read_parameters(item, f"{field}.parameters")
    size = parameters.get("binary_data_size")
    where = f"{field}.parameters.binary_data_size"
    _refuse_shared_memory(parameters, f"{field}.parameters")
    if size is None:
        if "data" not in item:
            raise InvalidInput("expected an array, or binary_data_size in the parameters, got nothing", field=f"{field}.data")
        return None
    if body is None:
        raise InvalidInput("given without the header Inference-Header-Content-Length", field=where)
    if "data" in item:
        raise InvalidInput("expected either data or binary_data_size, got both", field=where)
    if type(size) is not int or size < 0:
        raise InvalidInput(f"expected a number of bytes, got {describe(size)}", field=where)
    return size


def _read_parameters(owner: dict[str, Any], field: str) -> dict[str, Scalar]:
    """A copy of the owner's parameters: strings, numbers and bools by name."""
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidInput(f"expected an object, got {describe(parameters)}", field=field)
    for name, value in parameters.items():
        if not isinstance(value, (str, int, float, bool)):
            raise InvalidInput(
                f"expected a string, a number, true or false, got {describe(value)}", field=f"{field}.{_key(name)}"
            )
    return dict(parameters)


def _read_outputs(items: Any, limits: Limits) -> list[RequestedOutput] | None:
    """The outputs asked for; None (all) if none are named."""
    if items is None or items == []:
        return None
    if not isinstance(items, list):
        raise InvalidInput(f"expected an array of outputs, got {describe(items)}", field="outputs")
    if len(items) > limits.tensors:
        raise TooLarge(f"expected at most {limits.tensors} outputs, got {len(items)}", field="outputs")
    outputs: list[RequestedOutput] = []
    places: dict[str, int] = {}
    for at, item in enumerate(items):
        field = f"outputs[{at}]"
        if not isinstance(item, dict):
            raise InvalidInput(f"expected an object with a name, got {describe(item)}", field=field)
        name = _required(item, "name", field)
        _check_text(name, limits.name_bytes, f"{field}.name")
        if name in places:
            raise InvalidInput(f"{quote(name)} is already asked for by outputs[{places[name]}]", field=f"{field}.name")
        places[name] = at
        parameters = _read_parameters(item, f"{field}.parameters")
        _refuse_shared_memory(parameters, f"{field}.parameters")
        binary = _take_bool(parameters, "binary_data", f"{field}.parameters")
        outputs.append(RequestedOutput(name, binary, parameters))
    return outputs


def _refuse_shared_memory(parameters: dict[str, Scalar], field: str) -> None:
    if SHARED_MEMORY in parameters:
        raise InvalidInput("shared memory is not offered here; tensors travel in the body", field=f"{field}.{SHARED_MEMORY}")


def _take_bool(parameters: dict[str, Scalar], name: str, field: str) -> bool | None:
    value = parameters.pop(name, None)
    if value is not None and not isinstance(value, bool):
        raise InvalidInput(f"expected true or false, got {describe(value)}", field=f"{field}.{name}")
    return value


def _required(item: dict[str, Any], key: str, field: str) -> Any:
    if key not in item:
        raise InvalidInput("expected a value, got nothing", field=f"{field}.{key}")
    return item[key]


def _check_text(value: Any, longest: int, field: str) -> None:
    if not isinstance(value, str):
        raise InvalidInput(f"expected a string, got {describe(value)}", field=field)
    if len(value) > longest:
        raise TooLarge(f"expected at most {longest} characters, got {len(value)}", field=field)


def _key(name: str) -> str:
    return name if name.isidentifier() and len(name) <= 80 else quote(name)

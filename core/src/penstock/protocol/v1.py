"""KServe's protocol v1: `{"instances": [...]}` in, `{"predictions": [...]}` out, one item a row.

An instance is the value of the model's one input, or an object of values by input name. `decode_instances` only reads them (a
transformer makes rows of features of them); `tensors_of` makes tensors for a model whose inputs are known.

Source: KServe "V1 Inference Protocol", TensorFlow Serving's row format.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson

from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput, TooLarge
from penstock.protocol.limits import Limits
from penstock.protocol.reading import read_object
from penstock.protocol.v2.elements import tensor_of_json
from penstock.protocol.v2.plans import plan_of
from penstock.protocol.wording import describe, quote
from penstock.tensors import Tensor


def decode_instances(body: bytes, *, limits: Limits) -> list[Any]:
    """The instances of a request as JSON values. Raises InvalidInput or TooLarge."""
    limits.check_body(len(body))
    document = read_object(body)
    instances = document.get("instances")
    if not isinstance(instances, list):
        what = describe(instances) if "instances" in document else "nothing"
        raise InvalidInput(f"expected an array, got {what}", field="instances")
    if len(instances) > limits.rows:
        raise TooLarge(f"expected at most {limits.rows} instances, got {len(instances)}", field="instances")
    _check_nesting(instances, limits.nesting)
    return instances


def tensors_of(instances: list[Any], inputs: Sequence[TensorMetadata], *, limits: Limits) -> list[Tensor]:
    """One tensor `[instances, ...]` for each input. Raises InvalidInput naming `instances[i]` and the input."""
    if not instances:
        raise InvalidInput("expected at least one instance, got none", field="instances")
    named = isinstance(instances[0], dict)
    if not named and len(inputs) != 1:
        names = ", ".join(quote(tensor.name) for tensor in inputs)
        raise InvalidInput(f"expected an object with {names}, got {describe(instances[0])}", field="instances[0]")
    columns = _columns(instances, inputs) if named else {inputs[0].name: instances}
    return [_tensor(column, columns[column.name], named, limits) for column in inputs]


def encode_predictions(outputs: Sequence[Tensor]) -> bytes:
    """The body for a model's outputs `[rows, ...]`: their values if there is one output, else objects of values by output name.

    Raises InvalidInput for an output that JSON cannot hold, or that has no rows.
    """
    columns = [_values(tensor) for tensor in outputs]
    if len(columns) == 1:
        return b'{"predictions":[' + b",".join(columns[0]) + b"]}"
    if len({len(column) for column in columns}) > 1:
        raise InvalidInput("outputs of different numbers of rows have no v1 form; use the v2 protocol")
    names = [orjson.dumps(tensor.name) + b":" for tensor in outputs]
    rows = [b"{" + b",".join([n + v for n, v in zip(names, row, strict=True)]) + b"}" for row in zip(*columns, strict=True)]
    return b'{"predictions":[' + b",".join(rows) + b"]}"


def _columns(instances: list[Any], inputs: Sequence[TensorMetadata]) -> dict[str, list[Any]]:
    """Values by input name out of instances that are objects; each must have every input and nothing else."""
    names = {tensor.name for tensor in inputs}
    for at, instance in enumerate(instances):
        if not isinstance(instance, dict):
            raise InvalidInput(f"expected an object like instances[0], got {describe(instance)}", field=f"instances[{at}]")
        if instance.keys() != names:
            missing = sorted(names - instance.keys())
            if missing:
                raise InvalidInput(f"expected a value for {quote(missing[0])}, got nothing", field=f"instances[{at}]")
            unknown = sorted(instance.keys() - names)
            known = ", ".join(sorted(names))
            raise InvalidInput(f"unknown input {quote(unknown[0])}; expected {known}", field=f"instances[{at}]")
    return {name: [instance[name] for instance in instances] for name in names}


def _tensor(metadata: TensorMetadata, values: list[Any], named: bool, limits: Limits) -> Tensor:
    """One input's tensor; the sizes of axes that vary are taken from the first instance."""
    shape: list[int] = []
    level: Any = values
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    field = f"instances[*].{metadata.name}" if named else "instances"
    axes = max(len(metadata.shape), 1)
    if len(shape) != axes:
        raise InvalidInput(f"expected {axes - 1} levels of arrays in each instance, got {len(shape) - 1}", field=field)
    limits.check_shape(tuple(shape), field)
    return tensor_of_json(plan_of(metadata.name, metadata.datatype, tuple(shape), limits), values, field)


def _values(tensor: Tensor) -> list[bytes]:
    """Each row of an output as JSON, nested as its shape says."""
    if not tensor.shape:
        raise InvalidInput("an output without axes has no rows; use the v2 protocol", field=tensor.name)
    if len(tensor.shape) == 1:
        return tensor.json_rows()
    if len(tensor.shape) == 2:
        return [b"[" + row + b"]" for row in tensor.json_rows()]
    if tensor.datatype == "BYTES":
        return [orjson.dumps(row) for row in tensor.strings().tolist()]
    if tensor.datatype == "FP16":
        raise InvalidInput("FP16 has no JSON form; use the v2 protocol with binary data", field=tensor.name)
    return [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in np.ascontiguousarray(tensor.array)]


def _check_nesting(values: list[Any], deepest: int) -> None:
    """Raises InvalidInput if arrays or objects go deeper than `deepest` levels; level by level, without recursion."""
    level = values
    for _ in range(deepest):
        lists = [value for value in level if type(value) is list]
        dicts = [value for value in level if type(value) is dict]
        if not lists and not dicts:
            return
        level = list(chain(chain.from_iterable(lists), chain.from_iterable(part.values() for part in dicts)))
    raise InvalidInput(f"expected at most {deepest} levels of arrays and objects", field="instances")

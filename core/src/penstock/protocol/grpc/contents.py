"""Typed contents: the elements of one tensor in the list of its datatype, both ways.

The protocol has eight lists for twelve datatypes: the narrow integers travel as 32 bits and must fit when they arrive, and FP16
has no list at all. Whatever is sent in another list than the tensor's own is refused, not ignored.
"""

import struct
from typing import Any

import numpy as np

from penstock.errors import InvalidInput
from penstock.protocol.v2.plans import Plan, fits, range_of
from penstock.tensors import DATATYPES, Tensor

LISTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The list of `InferTensorContents` that holds a datatype's elements."""

_NARROW = frozenset(("INT8", "INT16", "UINT8", "UINT16"))


def tensor_of_contents(plan: Plan, contents: Any, field: str) -> Tensor:
    """The tensor of a plan out of an `InferTensorContents`. Raises InvalidInput naming the list or element below `field`."""
    name = LISTS.get(plan.datatype)
    if name is None:
        raise InvalidInput(f"{plan.datatype} has no typed contents; send it as raw_input_contents", field=field)
    elements = getattr(contents, name)
    for other, _ in contents.ListFields():
        if other.name != name:
            raise InvalidInput(f"expected {name} for {plan.datatype}, got {other.name}", field=field)
    if len(elements) != plan.size:
        raise InvalidInput(
            f"expected {plan.size} elements for shape {list(plan.shape)}, got {len(elements)}", field=f"{field}.{name}"
        )
    if plan.datatype == "BYTES":
        return Tensor.from_flat(plan.name, "BYTES", plan.shape, list(elements))
    if plan.datatype in _NARROW:
        return Tensor.from_raw(plan.name, plan.datatype, plan.shape, _narrowed(plan, elements, f"{field}.{name}"))
    raw = np.array(elements, DATATYPES[plan.datatype].dtype).tobytes()
    return Tensor.from_raw(plan.name, plan.datatype, plan.shape, raw)


def _narrowed(plan: Plan, elements: Any, field: str) -> bytes:
    """8 or 16 bits out of 32, each checked."""
    assert plan.pack is not None
    try:
        return plan.pack(*elements)
    except struct.error:
        at = next(at for at, element in enumerate(elements) if not fits(element, plan.datatype))
        raise InvalidInput(f"expected {range_of(plan.datatype)}, got {elements[at]}", field=f"{field}[{at}]") from None


def fill_contents(tensor: Tensor, contents: Any) -> None:
    """Put a tensor's elements into an `InferTensorContents`. FP16, which has no list, is the caller's to send raw."""
    elements = tensor.flat
    if tensor.datatype == "BYTES":
        elements = [element.encode() if isinstance(element, str) else bytes(element) for element in elements]
    getattr(contents, LISTS[tensor.datatype]).extend(elements)

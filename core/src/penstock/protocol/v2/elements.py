"""A tensor's `data` in JSON, as it is allowed to look: a flat list, or lists nested as the shape says.

The way of every tensor that is not in the plain form (see `decoding`), and the place where its faults are found and named down
to the element: `inputs[1].data[3][0]: expected an integer from 0 to 255, got 300`.
"""

import math
import struct
from itertools import chain
from typing import Any

from penstock.errors import InvalidInput
from penstock.protocol.v2.plans import Plan, fits, range_of
from penstock.protocol.wording import describe
from penstock.tensors import Tensor

_NUMBERS = frozenset((int, float, type(None)))
_WHOLE = frozenset((int,))
_TEXT = frozenset((str,))
_TRUTH = frozenset((bool,))
_LISTS = frozenset((list,))


def tensor_of_json(plan: Plan, data: Any, field: str) -> Tensor:
    """The tensor of a plan out of its JSON `data`. Raises InvalidInput naming the element below `field`."""
    if plan.datatype == "FP16":
        raise InvalidInput("FP16 travels only as binary data", field=field)
    if type(data) is not list:
        raise InvalidInput(f"expected an array, got {describe(data)}", field=field)
    nested = bool(data) and type(data[0]) is list
    flat = _flatten(data, plan.shape, field) if nested else data
    if len(flat) != plan.size:
        raise InvalidInput(f"expected {plan.size} elements for shape {describe(list(plan.shape))}, got {len(flat)}", field=field)
    tensor = _tensor(plan, flat)
    if tensor is None:
        raise _fault(plan, flat, nested, field)
    return tensor


def _tensor(plan: Plan, flat: list[Any]) -> Tensor | None:
    """The tensor, or None if some element does not fit."""
    kinds = set(map(type, flat))
    if plan.datatype == "BYTES":
        return Tensor.from_flat(plan.name, "BYTES", plan.shape, flat) if kinds <= _TEXT else None
    if plan.pack is None:
        return Tensor.from_raw(plan.name, "BOOL", plan.shape, bytes(flat)) if kinds <= _TRUTH else None
    if not kinds <= (_NUMBERS if plan.datatype[0] == "F" else _WHOLE):
        return None
    if type(None) in kinds:
        flat = [math.nan if element is None else element for element in flat]
    try:
        return Tensor.from_raw(plan.name, plan.datatype, plan.shape, plan.pack(*flat))
    except (struct.error, OverflowError):
        return None


def _flatten(data: list[Any], shape: tuple[int, ...], field: str) -> list[Any]:
    """The elements of lists nested as `shape` says, row-major."""
    level: list[Any] = [data]
    for axis, size in enumerate(shape):
        if not (set(map(type, level)) <= _LISTS and set(map(len, level)) <= {size}):
            raise _nesting_fault(level, shape, axis, field)
        level = list(chain.from_iterable(level))
    return level


def _nesting_fault(level: list[Any], shape: tuple[int, ...], axis: int, field: str) -> InvalidInput:
    """What is wrong with the first of the lists along an axis; the caller knows that there is one."""
    at = next(at for at, part in enumerate(level) if type(part) is not list or len(part) != shape[axis])
    where = _place(field, at, shape[:axis])
    if type(level[at]) is not list:
        return InvalidInput(f"expected an array, got {describe(level[at])}", field=where)
    wanted = f"{shape[axis]} elements for axis {axis} of {describe(list(shape))}"
    return InvalidInput(f"expected {wanted}, got {len(level[at])}", field=where)


def _fault(plan: Plan, flat: list[Any], nested: bool, field: str) -> InvalidInput:
    """What is wrong with the first element that does not fit; the caller knows that there is one."""
    at = next(at for at, element in enumerate(flat) if not fits(element, plan.datatype))
    where = _place(field, at, plan.shape if nested else (plan.size,))
    return InvalidInput(f"expected {range_of(plan.datatype)}, got {describe(flat[at])}", field=where)


def _place(field: str, at: int, shape: tuple[int, ...]) -> str:
    """The `at`-th element of `shape` below `field`: `data` becomes `data[1][0]`, `instances[*].x` becomes `instances[1].x[0]`."""
    indices: list[int] = []
    for size in reversed(shape):
        at, index = divmod(at, size)
        indices.insert(0, index)
    if indices and "[*]" in field:
        field = field.replace("[*]", f"[{indices.pop(0)}]", 1)
    return field + "".join(f"[{index}]" for index in indices)

"""Plans: what is known about a tensor from its name, datatype and shape alone, worked out once and looked up after that.

Callers of one model send the same few shapes over and over. A plan remembers that such a tensor passed the limits, how many
bytes it has, and the `struct` packer that turns its JSON numbers into bytes and refuses whatever does not fit the datatype
(a float or a string among integers, a number out of range, one too many) faster than any check that we could write.

The cache is bounded in entries, and names that are long enough to matter are not kept.
"""

import math
import struct
from collections.abc import Callable
from typing import Any

from penstock.errors import InvalidInput
from penstock.protocol.limits import Limits
from penstock.tensors import DATATYPES

PLANS_KEPT = 4096
NAME_KEPT = 128

_CODES = {
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP32": "f",
    "FP64": "d",
}


class Plan:
    """One tensor's form under one set of limits.

    `nbytes` is the length of its binary form, -1 for BYTES. `pack` makes that form from exactly `size` Python numbers, and
    raises struct.error or OverflowError if they do not fit; None where JSON values are not plain numbers (BOOL, FP16, BYTES).
    """

    __slots__ = ("datatype", "limits", "name", "nbytes", "pack", "shape", "size")

    def __init__(self, name: str, datatype: str, shape: tuple[int, ...], limits: Limits) -> None:
        if datatype not in DATATYPES:
            raise InvalidInput(f"expected one of {', '.join(DATATYPES)}")
        if not name or len(name) > limits.name_bytes:
            raise InvalidInput(f"expected a name of 1 to {limits.name_bytes} characters")
        self.size = limits.check_shape(shape, "shape")
        self.name = name
        self.datatype = datatype
        self.shape = shape
        self.limits = limits
        self.nbytes = self.size * DATATYPES[datatype].size if datatype != "BYTES" else -1
        code = _CODES.get(datatype)
        self.pack: Callable[..., bytes] | None = struct.Struct(f"<{self.size}{code}").pack if code else None


_plans: dict[tuple[str, str, tuple[int, ...]], Plan] = {}


def plan_of(name: str, datatype: str, shape: tuple[int, ...], limits: Limits) -> Plan:
    """The plan of such a tensor. Raises InvalidInput or TooLarge (without the tensor's place: the slow validator knows it)."""
    plan = _plans.get((name, datatype, shape))
    if plan is None or plan.limits is not limits:
        plan = Plan(name, datatype, shape, limits)
        if len(name) <= NAME_KEPT:
            if len(_plans) >= PLANS_KEPT:
                _plans.clear()
            _plans[name, datatype, shape] = plan
    return plan


def range_of(datatype: str) -> str:
    """The values that a datatype takes in JSON, for messages."""
    if datatype == "BYTES":
        return "a string"
    if datatype == "BOOL":
        return "true or false"
    if datatype.startswith("FP"):
        return f"a number that fits {datatype}, or null for NaN"
    bits = DATATYPES[datatype].size * 8
    low, high = (0, 2**bits - 1) if datatype[0] == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return f"an integer from {low} to {high}"


def fits(value: Any, datatype: str) -> bool:
    """Whether one JSON value may be an element of this datatype."""
    kind = type(value)
    if datatype == "BYTES":
        return kind is str
    if datatype == "BOOL":
        return kind is bool
    if datatype in ("FP32", "FP64"):
        if value is None:
            return True
        if kind is not int and kind is not float:
            return False
    elif kind is not int:
        return False
    try:
        struct.pack(f"<{_CODES[datatype]}", value)
    except (struct.error, OverflowError):
        return False
    return not (kind is float and math.isinf(value))

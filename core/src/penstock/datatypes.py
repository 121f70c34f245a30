"""The Open Inference Protocol's datatypes, their numpy dtypes, and the binary form of BYTES elements.

`penstock.tensors` is where the rest of the code gets these from.

Source: Open Inference Protocol v2, "Tensor Data Types" and "Binary tensor data" extension.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.errors import InvalidInput

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype of the protocol: `dtype` is little-endian (object for BYTES), `size` in bytes (0 for BYTES)."""

    name: str
    dtype: np.dtype[Any]
    size: int


DATATYPES: dict[str, Datatype] = {
    name: Datatype(name, np.dtype(code), 0 if code == "O" else np.dtype(code).itemsize)
    for name, code in {
        "BOOL": "?",
        "UINT8": "u1",
        "UINT16": "<u2",
        "UINT32": "<u4",
        "UINT64": "<u8",
        "INT8": "i1",
        "INT16": "<i2",
        "INT32": "<i4",
        "INT64": "<i8",
        "FP16": "<f2",
        "FP32": "<f4",
        "FP64": "<f8",
        "BYTES": "O",
    }.items()
}

_LENGTH = struct.Struct("<I")
_NAME_OF_DTYPE = {datatype.dtype: name for name, datatype in DATATYPES.items()}


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name for a numpy dtype; str and bytes dtypes are BYTES. Raises InvalidInput for any other."""
    name = _NAME_OF_DTYPE.get(dtype) or ("BYTES" if dtype.kind in "SU" else None)
    if name is None:
        raise InvalidInput(f"no protocol datatype for numpy {dtype}; expected one of {', '.join(DATATYPES)}")
    return name


def pack_bytes(elements: Sequence[str | bytes]) -> bytes:
    """BYTES elements in binary form: each a little-endian u32 length and its bytes; `str` as UTF-8."""
    parts: list[bytes] = []
    for element in elements:
        data = element.encode() if isinstance(element, str) else element
        parts.append(len(data).to_bytes(4, "little"))
        parts.append(data)
    return b"".join(parts)


def unpack_bytes(raw: bytes | memoryview, count: int, name: str) -> list[bytes]:
    """Exactly `count` elements out of their binary form. Raises InvalidInput, naming the tensor, if lengths do not add up."""
    elements: list[bytes] = []
    data = raw if type(raw) is bytes else bytes(raw)
    length_at = _LENGTH.unpack_from
    offset, end = 0, len(data)
    for index in range(count):
        start = offset + 4
        if start > end:
            raise InvalidInput(f"binary data ends inside element {index} of {count}", field=name)
        offset = start + length_at(data, offset)[0]
        if offset > end:
            raise InvalidInput(f"element {index} claims {offset - start} bytes, {end - start} are left", field=name)
        elements.append(data[start:offset])
    if offset != end:
        raise InvalidInput(f"{end - offset} bytes left after {count} elements", field=name)
    return elements

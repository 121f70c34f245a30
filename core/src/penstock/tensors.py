"""Tensors as they travel: a name, an Open Inference Protocol datatype, a shape, and data kept in whichever form it arrived.

A tensor from the wire stays bytes until a batch is made (joining bytes costs a hundredth of stacking arrays); a tensor from a
model run is a slice of the batch's output, which converts to lists or bytes once for all its callers. Both forms answer `array`,
`raw` and `flat`, so nothing downstream asks where a tensor came from.

Elements of a BYTES tensor are `str` or `bytes` in an object array: JSON brings the one, the binary form the other.

Source: Open Inference Protocol v2, "Tensor Data Types" and "Binary tensor data" extension.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

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

_NAME_OF_DTYPE = {datatype.dtype: name for name, datatype in DATATYPES.items()}


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name for a numpy dtype; str and bytes dtypes are BYTES. Raises InvalidInput for any other."""
    name = _NAME_OF_DTYPE.get(dtype) or ("BYTES" if dtype.kind in "SU" else None)
    if name is None:
        raise InvalidInput(f"no protocol datatype for numpy {dtype}; expected one of {', '.join(DATATYPES)}")
    return name


class Tensor:
    """A named tensor. Make one with `from_array`, `from_raw` or, for a part of a batch, `rows`.

    `shape` is a tuple of ints. `raw` is the protocol's binary form: little-endian, row-major; BYTES elements each behind a
    u32 length. `flat` is a list of Python values in row-major order. All three forms are made on demand and kept; treat them
    as read-only, they are shared between the callers of a batch.
    """

    __slots__ = ("_array", "_flat", "_parent", "_raw", "_start", "_stop", "datatype", "name", "shape")

    def __init__(self, name: str, datatype: str, shape: tuple[int, ...]) -> None:
        self.name = name
        self.datatype = datatype
        self.shape = shape
        self._array: Array | None = None
        self._raw: bytes | memoryview | None = None
        self._flat: list[Any] | None = None
        self._parent: Tensor | None = None
        self._start = 0
        self._stop = 0

    @classmethod
    def from_array(cls, name: str, array: Array) -> Self:
        """Wrap an array without a copy; str and bytes arrays become object arrays."""
        datatype = datatype_of(array.dtype)
        tensor = cls(name, datatype, array.shape)
        tensor._array = array.astype(object) if array.dtype.kind in "SU" else array
        return tensor

    @classmethod
    def from_raw(cls, name: str, datatype: str, shape: tuple[int, ...], raw: bytes | memoryview) -> Self:
        """Wrap bytes in the protocol's binary form. The caller has checked that their length fits shape and datatype."""
        tensor = cls(name, datatype, shape)
        tensor._raw = raw
        return tensor

    def rows(self, start: int, stop: int) -> "Tensor":
        """Rows `start` to `stop` of the first axis as a tensor that converts together with its siblings."""
        part = Tensor(self.name, self.datatype, (stop - start, *self.shape[1:]))
        part._parent = self
        part._start = start
        part._stop = stop
        return part

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def array(self) -> Array:
        """The tensor as a numpy array of its shape. Raises InvalidInput if BYTES data is malformed."""
        if self._array is None:
            if self._parent is not None:
                self._array = self._parent.array[self._start : self._stop]
            elif self.datatype == "BYTES":
                elements = np.empty(self.size, dtype=object)
                elements[:] = unpack_bytes(self._raw or b"", self.size, self.name)
                self._array = elements.reshape(self.shape)
            else:
                self._array = np.frombuffer(self._raw or b"", DATATYPES[self.datatype].dtype).reshape(self.shape)
        return self._array

    @property
    def raw(self) -> bytes | memoryview:
        """The tensor in the protocol's binary form."""
        if self._raw is None:
            size = DATATYPES[self.datatype].size
            if self._parent is not None and size:
                row = size * math.prod(self.shape[1:])
                self._raw = self._parent.raw[self._start * row : self._stop * row]
            elif size:
                self._raw = np.ascontiguousarray(self.array, DATATYPES[self.datatype].dtype).tobytes()
            else:
                self._raw = pack_bytes(self.array.ravel().tolist())
        return self._raw

    @property
    def flat(self) -> list[Any]:
        """The elements as Python values, row-major."""
        if self._flat is None:
            if self._parent is not None:
                row = math.prod(self.shape[1:])
                self._flat = self._parent.flat[self._start * row : self._stop * row]
            else:
                self._flat = self.array.ravel().tolist()
        return self._flat

    @property
    def nbytes(self) -> int:
        """Bytes that the data takes, for budgets: exact for fixed-size types, the binary form's length for BYTES."""
        size = DATATYPES[self.datatype].size
        return self.size * size if size else len(self.raw)

    def strings(self) -> Array:
        """A BYTES tensor as an object array of `str`, which is what ONNX Runtime takes. Raises InvalidInput if not UTF-8."""
        array = self.array
        try:
            decoded = [e.decode() if isinstance(e, bytes) else e for e in array.ravel().tolist()]
        except UnicodeDecodeError as error:
            raise InvalidInput("expected UTF-8 text", field=self.name) from error
        out = np.empty(len(decoded), dtype=object)
        out[:] = decoded
        return out.reshape(array.shape)

    def __repr__(self) -> str:
        return f"Tensor({self.name!r}, {self.datatype}, {list(self.shape)})"


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
    offset, end = 0, len(raw)
    for index in range(count):
        start = offset + 4
        if start > end:
            raise InvalidInput(f"binary data ends inside element {index} of {count}", field=name)
        offset = start + int.from_bytes(raw[offset:start], "little")
        if offset > end:
            raise InvalidInput(f"element {index} claims {offset - start} bytes, {end - start} are left", field=name)
        elements.append(bytes(raw[start:offset]))
    if offset != end:
        raise InvalidInput(f"{end - offset} bytes left after {count} elements", field=name)
    return elements

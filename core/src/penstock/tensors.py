"""Tensors as they travel: a name, an Open Inference Protocol datatype, a shape, and data kept in whichever form it arrived.

A tensor from the wire stays bytes until a batch is made (joining bytes costs a hundredth of stacking arrays); a tensor from a
model run is a slice of the batch's output, which converts to JSON or bytes once for all its callers. Every form answers `array`,
`raw`, `flat` and `json`, so nothing downstream asks where a tensor came from.

Elements of a BYTES tensor are `str` or `bytes` in an object array: JSON brings the one, the binary form the other.

Source: Open Inference Protocol v2, "Tensor Data Types" and "Binary tensor data" extension.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import orjson

from penstock.datatypes import DATATYPES, Array, Datatype, datatype_of, pack_bytes, unpack_bytes
from penstock.errors import InvalidInput

__all__ = ["DATATYPES", "Array", "Datatype", "Tensor", "datatype_of", "pack_bytes", "unpack_bytes"]


class Tensor(msgspec.Struct, eq=False):
    """A named tensor. Make one with `from_array`, `from_raw`, `from_flat` or, for a part of a batch, `rows`.

    `shape` is a tuple of ints. All forms of the data are made on demand and kept; treat them as read-only, they are shared
    between the callers of a batch.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    @staticmethod
    def from_array(name: str, array: Array) -> "Tensor":
        """Wrap an array without a copy; str and bytes arrays become object arrays. Raises InvalidInput for other dtypes."""
        datatype = datatype_of(array.dtype)
        return _ArrayTensor(name, datatype, array.shape, array.astype(object) if array.dtype.kind in "SU" else array)

    @staticmethod
    def from_raw(name: str, datatype: str, shape: tuple[int, ...], raw: bytes | memoryview) -> "Tensor":
        """Wrap bytes in the protocol's binary form. The caller has checked that their length fits shape and datatype."""
        return RawTensor(name, datatype, shape, raw)

    @staticmethod
    def from_flat(name: str, datatype: str, shape: tuple[int, ...], flat: list[Any]) -> "Tensor":
        """Wrap a row-major list of Python values that the caller has checked against shape and datatype."""
        return _FlatTensor(name, datatype, shape, flat)

    def rows(self, start: int, stop: int) -> "Tensor":
        """Rows `start` to `stop` of the first axis as a tensor that converts together with its siblings."""
        return _PartTensor(self.name, self.datatype, (stop - start, *self.shape[1:]), self, start, stop)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def array(self) -> Array:
        """The tensor as a numpy array of its shape. Raises InvalidInput if BYTES data is malformed."""
        raise NotImplementedError

    @property
    def vector(self) -> Array:
        """The elements as an array of one axis, row-major."""
        return self.array.reshape(-1)

    @property
    def raw(self) -> bytes | memoryview:
        """The protocol's binary form: little-endian, row-major; BYTES elements each behind a u32 length."""
        raise NotImplementedError

    @property
    def flat(self) -> list[Any]:
        """The elements as Python values, row-major."""
        raise NotImplementedError

    @property
    def json(self) -> bytes:
        """The elements as JSON, row-major, with commas between and no brackets; NaN and infinities as `null`.

        Raises InvalidInput for FP16, which the protocol has only in binary form, and for BYTES that are not UTF-8.
        """
        raise NotImplementedError

    def json_rows(self) -> list[bytes]:
        """What `json` gives, one item for each row of the first axis (one item in all for a tensor without axes)."""
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        """Bytes that the data takes, for budgets: exact for fixed-size types, the binary form's length for BYTES (about)."""
        size = DATATYPES[self.datatype].size
        return self.size * size if size else 4 * self.size + sum(map(len, self.flat))

    def strings(self) -> Array:
        """A BYTES tensor as an object array of `str`, which is what ONNX Runtime takes. Raises InvalidInput if not UTF-8."""
        out = np.empty(self.size, dtype=object)
        out[:] = _decoded(self)
        return out.reshape(self.shape)

    def __repr__(self) -> str:
        return f"Tensor({self.name!r}, {self.datatype}, {list(self.shape)})"


class RawTensor(Tensor):
    """Data in binary form first: what comes off the wire, one for each input of each request, so it starts with little."""

    _raw: bytes | memoryview
    _whole: "_ArrayTensor | None" = None

    def _parsed(self) -> "_ArrayTensor":
        """The same tensor over an array, which keeps the forms that it has been asked for."""
        if self._whole is None:
            if self.datatype == "BYTES":
                array = _objects(unpack_bytes(self._raw, self.size, self.name), self.shape)
            else:
                array = np.frombuffer(self._raw, DATATYPES[self.datatype].dtype).reshape(self.shape)
            self._whole = _ArrayTensor(self.name, self.datatype, self.shape, array, self._raw)
        return self._whole

    def rows(self, start: int, stop: int) -> Tensor:
        return self._parsed().rows(start, stop)

    @property
    def array(self) -> Array:
        return self._parsed().array

    @property
    def vector(self) -> Array:
        if self._whole is None and self.datatype != "BYTES":
            return np.frombuffer(self._raw, DATATYPES[self.datatype].dtype)
        return self._parsed().array.reshape(-1)

    @property
    def raw(self) -> bytes | memoryview:
        return self._raw

    @property
    def flat(self) -> list[Any]:
        return self._parsed().flat

    @property
    def json(self) -> bytes:
        return _json(self)

    def json_rows(self) -> list[bytes]:
        return self._parsed().json_rows()

    @property
    def nbytes(self) -> int:
        return len(self._raw)


class _WholeTensor(Tensor, kw_only=True):
    """A batch's tensor of its own: it keeps the JSON of its rows, which all of its parts take theirs from."""

    _json_rows: list[bytes] | None = None

    @property
    def json(self) -> bytes:
        return _json(self)

    def json_rows(self) -> list[bytes]:
        if self._json_rows is None:
            self._json_rows = _rows_as_json(self)
        return self._json_rows


class _ArrayTensor(_WholeTensor):
    """Data in an array first: what a model run gives."""

    _array: Array
    _raw: bytes | memoryview | None = None
    _flat: list[Any] | None = None

    @property
    def array(self) -> Array:
        return self._array

    @property
    def raw(self) -> bytes | memoryview:
        if self._raw is None:
            self._raw = self._array.tobytes() if self.datatype != "BYTES" else pack_bytes(self.flat)
        return self._raw

    @property
    def flat(self) -> list[Any]:
        if self._flat is None:
            self._flat = self._array.ravel().tolist()
        return self._flat


class _FlatTensor(_WholeTensor):
    """Data in a list first: BYTES out of JSON, and what Python code makes."""

    _flat: list[Any]
    _array: Array | None = None
    _raw: bytes | None = None

    @property
    def array(self) -> Array:
        if self._array is None:
            if self.datatype == "BYTES":
                self._array = _objects(self._flat, self.shape)
            else:
                self._array = np.array(self._flat, DATATYPES[self.datatype].dtype).reshape(self.shape)
        return self._array

    @property
    def raw(self) -> bytes:
        if self._raw is None:
            self._raw = pack_bytes(self._flat) if self.datatype == "BYTES" else self.array.tobytes()
        return self._raw

    @property
    def flat(self) -> list[Any]:
        return self._flat


class _PartTensor(Tensor):
    """Some rows of a batch's tensor: the batch converts once, each part takes its slice."""

    _parent: Tensor
    _start: int
    _stop: int

    def rows(self, start: int, stop: int) -> Tensor:
        return self._parent.rows(self._start + start, self._start + stop)

    @property
    def array(self) -> Array:
        return self._parent.array[self._start : self._stop]

    @property
    def raw(self) -> bytes | memoryview:
        if self.datatype == "BYTES":
            return pack_bytes(self.flat)
        whole = self._parent.raw
        row = len(whole) // (self._parent.shape[0] or 1)
        return whole[self._start * row : self._stop * row]

    @property
    def flat(self) -> list[Any]:
        row = math.prod(self.shape[1:])
        return self._parent.flat[self._start * row : self._stop * row]

    @property
    def json(self) -> bytes:
        rows = self._parent.json_rows()
        if self._stop - self._start == 1:
            return rows[self._start]
        return b",".join(rows[self._start : self._stop]) if 0 not in self.shape else b""

    def json_rows(self) -> list[bytes]:
        return self._parent.json_rows()[self._start : self._stop]


def _objects(flat: Sequence[Any], shape: tuple[int, ...]) -> Array:
    """An object array; never lets numpy look inside the elements."""
    out = np.empty(len(flat), dtype=object)
    out[:] = flat
    return out.reshape(shape)


def _decoded(tensor: Tensor) -> list[str]:
    """The elements of a BYTES tensor as text. Raises InvalidInput if one is not UTF-8."""
    try:
        return [element.decode() if isinstance(element, bytes) else element for element in tensor.flat]
    except UnicodeDecodeError as error:
        raise InvalidInput("expected UTF-8 text", field=tensor.name) from error


def _json_numbers(tensor: Tensor) -> Array:
    """The numbers as orjson takes them. Raises InvalidInput for FP16."""
    if tensor.datatype == "FP16":
        raise InvalidInput("FP16 has no JSON form; ask for it as binary data", field=tensor.name)
    return np.ascontiguousarray(tensor.array)


def _json(tensor: Tensor) -> bytes:
    """All elements as JSON, without brackets."""
    if tensor.datatype == "BYTES":
        return _json_texts(tensor, _decoded(tensor))
    return orjson.dumps(_json_numbers(tensor).ravel(), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _json_texts(tensor: Tensor, texts: list[str]) -> bytes:
    try:
        return orjson.dumps(texts)[1:-1]
    except orjson.JSONEncodeError as error:
        raise InvalidInput("expected UTF-8 text", field=tensor.name) from error


def _rows_as_json(tensor: Tensor) -> list[bytes]:
    """One dump for the whole batch, cut at the row borders: numbers hold no brackets, so the cut is exact."""
    if not tensor.shape:
        return [_json(tensor)]
    count, row = tensor.shape[0], math.prod(tensor.shape[1:])
    if tensor.datatype == "BYTES":
        texts = _decoded(tensor)
        return [_json_texts(tensor, texts[at * row : (at + 1) * row]) for at in range(count)]
    array = _json_numbers(tensor)
    if not array.size:
        return [b""] * count
    return orjson.dumps(array.reshape(count, row), option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")

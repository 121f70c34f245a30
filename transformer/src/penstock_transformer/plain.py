"""Bundles without features: rows hold the model's own inputs by name, and are stacked instead of encoded.

rows [{input: value}, …] or columns {input: array} -> tensors {input: [rows, ...]}
"""

from typing import Any

import numpy as np

from penstock.bundle.manifest import Manifest
from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput
from penstock.tensors import DATATYPES, Array
from penstock_transformer.requests import PredictRequest, Row
from penstock_transformer.row_source import check_names


def plain_tensors(manifest: Manifest, request: PredictRequest, rows: int) -> dict[str, Array]:
    """The model's inputs from one caller's rows. Raises InvalidInput, field `rows[i].input`, for a value that does not fit."""
    inputs = manifest.model.inputs
    accepted = frozenset(i.name for i in inputs)
    if request.rows is not None:
        for at, row in enumerate(request.rows):
            check_names(row, accepted, {}, f"rows[{at}].")
        return {i.name: _stacked(i, request.rows) for i in inputs}
    columns = request.columns or {}
    check_names(columns, accepted, {}, "")
    for one in inputs:
        if one.name not in columns:
            raise InvalidInput(f"missing; expected {one.datatype} {list(one.shape)}", field=one.name)
        if len(columns[one.name]) != rows:
            raise InvalidInput(f"expected {rows} rows, as the longest has, got {len(columns[one.name])}", field=one.name)
    return {i.name: columns[i.name] for i in inputs}


def _stacked(one: TensorMetadata, rows: list[Row]) -> Array:
    shape = one.shape[1:]
    return np.stack([_value(one, row.get(one.name), shape, f"rows[{at}].{one.name}") for at, row in enumerate(rows)])


def _value(one: TensorMetadata, value: Any, shape: tuple[int, ...], field: str) -> Array:
    expected = f"{one.datatype} {list(shape)}" if shape else one.datatype
    if value is None:
        raise InvalidInput(f"missing; expected {expected}", field=field)
    dtype = DATATYPES[one.datatype].dtype
    try:
        given = np.asarray(value, object if dtype.kind == "O" else None)
    except ValueError:
        raise InvalidInput(f"expected {expected}, got lists of different lengths", field=field) from None
    if not _fits(given, dtype):
        raise InvalidInput(f"expected {expected}, got {type(value).__name__}", field=field)
    if given.shape != shape and shape == (1,) and given.shape == ():
        given = given.reshape(1)
    if len(given.shape) != len(shape) or any(w not in (-1, g) for g, w in zip(given.shape, shape, strict=True)):
        raise InvalidInput(f"expected {expected}, got shape {list(given.shape)}", field=field)
    array = given.astype(dtype)
    if dtype.kind in "iu" and given.size and not np.array_equal(array, given):
        raise InvalidInput(f"expected {expected}, got a number out of its range", field=field)
    return array


def _fits(given: Array, dtype: "np.dtype[Any]") -> bool:
    if dtype.kind == "O":
        return all(type(v) in (str, bytes) for v in given.ravel().tolist())
    if dtype.kind == "b":
        return given.dtype.kind == "b"
    return given.dtype.kind in ("iuf" if dtype.kind == "f" else "iu")

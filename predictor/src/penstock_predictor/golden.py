"""The bundle's golden examples, as far as they concern the model: encoded tensors in, outputs out.

A line of golden.jsonl is an object; its `tensors` and `outputs` hold each tensor of one row by name, as nested lists. The rest of
the line is the transformer's business. Float `null` stands for NaN, as everywhere in our JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput
from penstock.tensors import DATATYPES, Array
from penstock_predictor.samples import Row


@dataclass(frozen=True, slots=True)
class Golden:
    """One example: `tensors` and `outputs` each with a first axis of length 1. `outputs` may lack some."""

    line: int
    tensors: Row
    outputs: Row


def read_golden(data: bytes, inputs: Sequence[TensorMetadata], outputs: Sequence[TensorMetadata]) -> list[Golden]:
    """Examples of golden.jsonl. Raises InvalidInput naming the line and tensor that does not fit the signature."""
    found: list[Golden] = []
    for number, text in enumerate(data.splitlines(), 1):
        if not text.strip():
            continue
        where = f"golden.jsonl line {number}"
        try:
            line = json.loads(text)
        except ValueError as error:
            raise InvalidInput(f"not JSON: {error}", field=where) from error
        if not isinstance(line, dict) or not isinstance(line.get("tensors"), dict):
            raise InvalidInput("expected an object with tensors", field=where)
        given, expected = line["tensors"], line.get("outputs") or {}
        missing = [tensor.name for tensor in inputs if tensor.name not in given]
        if missing:
            raise InvalidInput(f"missing {', '.join(missing)}", field=f"{where}: tensors")
        tensors = {tensor.name: _array(tensor, given[tensor.name], f"{where}: tensors.{tensor.name}") for tensor in inputs}
        results = {t.name: _array(t, expected[t.name], f"{where}: outputs.{t.name}") for t in outputs if t.name in expected}
        found.append(Golden(number, tensors, results))
    return found


def _array(tensor: TensorMetadata, value: Any, where: str) -> Array:
    """`value` is one row, with or without its first axis of length 1."""
    dtype = DATATYPES[tensor.datatype].dtype
    try:
        if dtype.kind == "f":
            array = np.asarray(np.array(value, dtype=object), np.float64).astype(dtype)
        else:
            array = np.array(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"expected {tensor.datatype} values", field=where) from error
    if array.ndim == len(tensor.shape) - 1:
        array = array[np.newaxis]
    if array.ndim != len(tensor.shape):
        raise InvalidInput(f"expected a row of {list(tensor.shape)}, got {list(array.shape)}", field=where)
    return array

"""The bundle's golden examples as arrays, as far as they concern the model: encoded tensors in, outputs out.

The rest of a line, and the file's form, are `penstock.bundle.golden`'s business.

Invariant: a bundle whose examples come out otherwise than it says never takes traffic (`compare`, at every load).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock.bundle.golden import GOLDEN, TOLERANCE, read_golden
from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput, PenstockError
from penstock.onnx import Session
from penstock.tensors import DATATYPES, Array
from penstock_predictor.rows import same
from penstock_predictor.samples import Row

_COARSE = 2e-2


@dataclass(frozen=True, slots=True)
class Example:
    """One example: `tensors` and `outputs` each with a first axis of length 1. `outputs` may lack some."""

    line: int
    tensors: Row
    outputs: Row


def read_examples(data: bytes, inputs: Sequence[TensorMetadata], outputs: Sequence[TensorMetadata]) -> list[Example]:
    """The examples of golden.jsonl. Raises InvalidInput naming the line and tensor that does not fit the signature."""
    found: list[Example] = []
    for golden in read_golden(data):
        where = f"{GOLDEN} line {golden.line}"
        missing = [tensor.name for tensor in inputs if tensor.name not in golden.tensors]
        if missing:
            raise InvalidInput(f"missing {', '.join(missing)}", field=f"{where}: tensors")
        tensors = {t.name: _array(t, golden.tensors[t.name], f"{where}: tensors.{t.name}") for t in inputs}
        results = {
            t.name: _array(t, golden.outputs[t.name], f"{where}: outputs.{t.name}") for t in outputs if t.name in golden.outputs
        }
        found.append(Example(golden.line, tensors, results))
    return found


def compare(examples: Sequence[Example], session: Session) -> str | None:
    """What differs when each example is run by itself, named by line and output; None if all come out as the bundle says.

    Accelerators round more coarsely than the CPU that the examples were made on (TF32, float16), which is no fault of a bundle.
    """
    rounding = TOLERANCE if session.on_cpu else dict.fromkeys(TOLERANCE, _COARSE)
    for example in examples:
        try:
            outputs = session.run(example.tensors)
        except PenstockError as error:
            return f"line {example.line}: {error}"
        for tensor, got in zip(session.outputs, outputs, strict=True):
            expected = example.outputs.get(tensor.name)
            if expected is not None and not same(expected, got, rounding):
                return f"line {example.line}: output {tensor.name}: expected {_short(expected)}, the model gives {_short(got)}"
    return None


def _short(array: Array) -> str:
    text = json.dumps(array.tolist(), default=str)
    return text if len(text) < 200 else text[:200] + "…"


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

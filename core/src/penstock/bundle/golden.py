"""golden.jsonl: rows with everything that a bundle made of them, so that each pod can check its own part.

    row -> tensors   the transformer      (rows to tensors)
    tensors -> outputs   the predictor    (model)
    outputs -> prediction   the transformer   (post-processing)

A line is one row: `row` (raw features, fetched ones included), `now` (seconds since the epoch, or null: the clock that ages were
judged by), `tensors` and `outputs` (nested lists, without the first axis), `prediction`. null stands for NaN; an infinity is the
number 1e999.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock.errors import InvalidInput
from penstock.tensors import Array

GOLDEN = "golden.jsonl"
# Rounding that another processor or release may bring, relative to the largest value of the row.
TOLERANCE = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-6}


@dataclass(frozen=True, slots=True)
class Golden:
    """One line. `tensors` and `outputs` are nested lists of one row, as JSON holds them. `line` counts from 1."""

    line: int
    row: dict[str, Any]
    now: float | None
    tensors: dict[str, Any]
    outputs: dict[str, Any]
    prediction: dict[str, Any] | None


def read_golden(data: bytes) -> list[Golden]:
    """The examples. Raises InvalidInput naming the line."""
    found = []
    for number, text in enumerate(data.splitlines(), start=1):
        if not text.strip():
            continue
        field = f"{GOLDEN} line {number}"
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"not JSON: {error}", field=field) from None
        if not isinstance(line, dict) or not isinstance(line.get("tensors"), dict) or not isinstance(line.get("outputs"), dict):
            raise InvalidInput("expected an object with tensors and outputs", field=field)
        row, prediction = line.get("row") or {}, line.get("prediction")
        if not isinstance(row, dict) or not isinstance(prediction, dict | None):
            raise InvalidInput("expected row and prediction to be objects", field=field)
        if type(line.get("now")) not in (int, float, type(None)):
            raise InvalidInput("expected seconds since the epoch, or null", field=f"{field}: now")
        found.append(Golden(number, row, line.get("now"), line["tensors"], line["outputs"], prediction))
    return found


def write_golden(
    rows: list[dict[str, Any]],
    tensors: dict[str, Array],
    outputs: dict[str, Array],
    predictions: list[dict[str, Any]],
    now: float | None,
) -> bytes:
    """The bytes of golden.jsonl for rows, and the arrays `[rows, …]` and predictions made of them. The same input gives the same
    bytes.
    """
    lines = []
    for index, row in enumerate(rows):
        line = {
            "row": row,
            "now": now,
            "tensors": {name: array[index].tolist() for name, array in tensors.items()},
            "outputs": {name: array[index].tolist() for name, array in outputs.items()},
            "prediction": predictions[index] if predictions else None,
        }
        lines.append(_dump(line))
    return "".join(f"{line}\n" for line in lines).encode()


def _dump(value: Any) -> str:
    """JSON without spaces; NaN as null, infinities as numbers that overflow to them in every reader."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{_dump(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_dump(each) for each in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return "null" if math.isnan(value) else "1e999" if value > 0 else "-1e999"
    if isinstance(value, bytes):
        return json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


def stack(examples: list[dict[str, Any]], dtypes: dict[str, np.dtype[Any]]) -> dict[str, Array]:
    """Tensors `[rows, …]` of the examples' nested lists. Raises InvalidInput for a tensor that is missing or of another shape."""
    arrays = {}
    for name, dtype in dtypes.items():
        if any(name not in example for example in examples):
            raise InvalidInput("is not in every line", field=f"{GOLDEN}: {name}")
        values = [example[name] for example in examples]
        try:
            arrays[name] = np.array(values, object).astype(dtype) if dtype != np.dtype(object) else np.array(values, object)
        except (TypeError, ValueError, OverflowError):
            raise InvalidInput(f"expected {dtype} values of one shape", field=f"{GOLDEN}: {name}") from None
    return arrays


def first_difference(expected: Array, got: Array) -> int | None:
    """The first row in which two tensors `[rows, …]` differ by more than rounding; None if they agree. NaN equals NaN."""
    if expected.shape != got.shape:
        return 0
    if expected.dtype.kind != "f":
        wrong = (expected != got).reshape(len(expected), -1).any(axis=1)
    else:
        a, b = (array.astype(np.float64).reshape(len(array), -1) for array in (expected, got))
        finite = np.isfinite(a) & np.isfinite(b)
        with np.errstate(invalid="ignore"):
            scale = np.where(finite, np.abs(a), 0).max(axis=1, keepdims=True, initial=1e-6)
            near = np.abs(np.where(finite, a - b, 0)) <= TOLERANCE[expected.dtype.name] * scale
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        wrong = ~np.where(finite, near, same).all(axis=1)
    return int(wrong.argmax()) if wrong.any() else None


def same_prediction(expected: Any, got: Any) -> bool:
    """Whether two predictions are equal up to the rounding of their numbers."""
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(same_prediction(expected[name], got[name]) for name in expected)
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(same_prediction(a, b) for a, b in zip(expected, got, strict=True))
    if isinstance(expected, float | int) and isinstance(got, float | int) and not isinstance(expected, bool):
        return math.isclose(expected, got, rel_tol=TOLERANCE["float32"], abs_tol=1e-6)
    return bool(expected == got)

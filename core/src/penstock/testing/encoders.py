"""Encoder graphs with inputs and the answers of their numpy definitions: what any runtime that claims to run encoders must give.

    encoder_cases() -> a graph, its feeds, what should come out --write_cases--> cases.json, for runtimes that are not in this
    process

Used to hold the oldest supported ONNX Runtime and ONNX Runtime Web to the definitions. Needs the package onnx.
"""

import base64
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from penstock.features.compiler import compile_encoder
from penstock.features.definition import define
from penstock.features.document import write_document
from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec
from penstock.features.values import column_of
from penstock.tensors import Array

# Text without NUL, which ends a string for ONNX Runtime Web.
_VALUES: dict[str, list[Any]] = {
    "string": ["", " ", "a", "A", "NaN", "null", "é", "e\u0301", "日本", "🛩️", "3.0"],
    "bool": [True, False],
    "int32": [0, 1, -1, 5, 2**31 - 1, -(2**31)],
    "int64": [0, 1, -1, 5, 2**53 + 1, 2**63 - 1, -(2**63)],
    "float32": [0.0, 0.1, -1.5, 7.0, 3e38, math.inf, -math.inf, math.nan],
    "float64": [0.0, 0.1, -1.0, 5e-324, 1e-17, 1e-10, 1e16, 1e308, math.inf, -math.inf, math.nan],
    "timestamp": [0.0, -0.5, 951782399.999, 1709164800.25, -62135596800.0, 253402300799.0],
}
_DEFAULTS: dict[str, Any] = {
    "string": "a",
    "bool": True,
    "int32": 7,
    "int64": 7,
    "float32": 0.1,
    "float64": 0.1,
    "timestamp": 86399.5,
}
_NUMERIC = ("bool", "int32", "int64", "float32", "float64", "timestamp")
_ARITHMETIC: list[Any] = [
    {"standardise": {"mean": 1.5, "std": 2}},
    {"standardise": {"mean": 1e-50, "std": 1 + 1e-9}},
    {"robustScale": {"center": 1, "scale": 3}},
    {"minMax": {"min": -1, "max": 5, "clip": True}},
    {"clip": {"min": -1, "max": 10}},
    "log1p",
    [{"bucketise": {"edges": [0, 0.5, 3]}}, {"oneHot": {"categories": [0, 1, 2]}}],
    {"cast": {"to": "int64"}},
    {"quantileMap": {"quantiles": [-1, 0, 0, 5, 5, 7.5, 1e16]}},
]
_PARTS = ["year", "month", "day", "hour", "minute", "second", "weekday", "yearday"]


@dataclass(frozen=True, slots=True)
class EncoderCase:
    """A graph `model` whose one output on `feeds` should be `expected`, within `tolerance` (absolute) and 1e-14 (relative)."""

    name: str
    model: bytes
    feeds: dict[str, Array]
    expected: Array
    tolerance: float = 0.0


def encoder_cases() -> Iterator[EncoderCase]:
    """Every encoding, on every type it takes, with every policy for missing values."""
    for kind in _NUMERIC:
        for policy in ("reject", "default", "keep"):
            for encode in _ARITHMETIC:
                masked = policy == "keep" and kind in ("bool", "int32", "int64")
                if not (masked and "cast" in encode):
                    yield _case(kind, policy, encode)
    for kind in _VALUES:
        for policy in ("reject", "default", "keep"):
            for encode in _categorical(kind):
                yield _case(kind, policy, encode)
    yield _case("timestamp", "keep", {"timestampParts": {"parts": _PARTS}})
    yield _case("timestamp", "keep", {"timestampCycles": {"periods": ["day", "week", "month", "year"]}}, 1e-9)
    for pair in ("difference", "product", "ratio"):
        for kind in _NUMERIC:
            yield _case(kind, "keep", {pair: {"with": "other"}})
    yield _case("string", "default", "passthrough")
    yield _image_case()
    yield from _list_cases()
    yield from _word_cases()


def _categorical(kind: str) -> list[Any]:
    categories = [value for value in _VALUES[kind][::2] if value == value]
    given = {"categories": categories}
    encodings: list[Any] = [
        {"oneHot": given | {"unseen": "other", "missing": "own"}},
        {"oneHot": given},
        {"ordinal": given | {"unseen": math.nan, "missing": -3}},
        {"ordinal": given},
        {"targetEncoding": given | {"values": [index / 3 for index in range(len(categories))], "unseen": 0.1, "missing": -1}},
    ]
    if kind in ("string", "bool", "int32", "int64"):
        encodings.append({"embeddingIndex": given | {"unseen": 9}})
    return encodings


def _case(kind: str, policy: str, encode: Any, tolerance: float = 0.0) -> EncoderCase:
    values = list(_VALUES[kind]) if policy != "reject" else [value for value in _VALUES[kind] if value == value]
    values += [None] if policy != "reject" else []
    missing: Any = {"default": _DEFAULTS[kind]} if policy == "default" else policy
    features = [{"name": "f", "from": "request", "type": kind, "missing": missing, "encode": encode}]
    columns = {"f": column_of(values, kind, "f")}
    if "with" in str(encode):
        features.append({"name": "other", "from": "request", "type": "float64", "missing": "keep", "encode": []})
        columns["other"] = column_of((_VALUES["float64"] * 2)[: len(values)], "float64", "other")
    spec = read_spec(write_document({"formatVersion": 1, "features": features, "tensors": {"x": ["f"]}}))
    return _recorded(f"{kind} {policy} {json.dumps(encode, ensure_ascii=False)}", spec, columns, tolerance)


def _image_case() -> EncoderCase:
    step = {"resize": [4, 6], "crop": [3, 3], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    features = [{"name": "f", "from": "request", "type": "image", "encode": {"image": step}}]
    spec = read_spec(write_document({"formatVersion": 1, "features": features, "tensors": {"x": ["f"]}}))
    column = column_of([None, None], "string", "f")
    column.values = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    column.missing[:] = False
    return _recorded("image", spec, {"f": column}, 1e-6)


def _list_cases() -> Iterator[EncoderCase]:
    """Lists of every length up to the longest, some missing, into columns."""
    for kind in ("string", "bool", "int32", "int64"):
        values = _VALUES[kind]
        for default in ([], values[:1]):
            for unseen in ("zeros", "other"):
                encode = {"multiHot": {"categories": values[::2], "unseen": unseen}}
                lists: list[Any] = [values[at : at + at % 5] for at in range(len(values))] + [None]
                feature = {"name": "f", "from": "request", "type": f"list<{kind}>", "length": 4, "missing": {"default": default}}
                spec = _spec([feature | {"encode": encode}])
                column = column_of(lists, f"list<{kind}>", "f", length=4)
                yield _recorded(f"list<{kind}> {default} {json.dumps(encode, ensure_ascii=False)}", spec, {"f": column}, 0.0)


def _word_cases() -> Iterator[EncoderCase]:
    """Texts into counts of words and their neighbours, weighed and not."""
    texts = ["not late, not LATE", "", "été à la été", "late", "日本 late not late 日本", None]
    counts = {"vocabulary": ["late", "not late", "été", "日本 late", "la"], "ngrams": [1, 2]}
    weights = {"idf": [1.0, 2.5, 1.25, 3.0, 1 / 3]}
    for behind in ([], [{"tfIdf": weights}], [{"tfIdf": weights | {"norm": "l1", "sublinear": True}}]):
        steps = ["words", {"ngramCounts": counts}, *behind]
        spec = _spec([{"name": "f", "from": "request", "type": "string", "missing": {"default": "la"}, "encode": steps}])
        tolerance = 1e-6 if behind else 0.0
        yield _recorded(f"words {json.dumps(behind)}", spec, {"f": column_of(texts, "string", "f")}, tolerance)


def _spec(features: list[dict[str, Any]]) -> Any:
    return read_spec(write_document({"formatVersion": 1, "features": features, "tensors": {"x": ["f"]}}))


def _recorded(name: str, spec: Any, columns: Any, tolerance: float) -> EncoderCase:
    """The case with what the encoder feeds its graph, caught on the way."""
    caught: list[dict[str, Array]] = []

    def run(feeds: dict[str, Array]) -> list[Array]:
        caught.append(feeds)
        return [np.empty(0)]

    encoder = Encoder(b"", spec, run=run)
    encoder.encode(columns)
    return EncoderCase(name, compile_encoder(spec), caught[0], define(encoder.plan, columns)["x"], tolerance)


def write_cases(path: Path) -> int:
    """All cases as JSON (arrays in base64, little-endian; text as lists) at `path`; how many there are."""
    cases = [
        {
            "name": case.name,
            "model": base64.b64encode(case.model).decode(),
            "feeds": {name: _written(array) for name, array in case.feeds.items()},
            "expected": _written(case.expected),
            "tolerance": case.tolerance,
        }
        for case in encoder_cases()
    ]
    path.write_text(json.dumps(cases))
    return len(cases)


def _written(array: Array) -> dict[str, Any]:
    if array.dtype == object:
        return {"type": "string", "shape": list(array.shape), "data": array.ravel().tolist()}
    return {
        "type": array.dtype.name,
        "shape": list(array.shape),
        "data": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode(),
    }

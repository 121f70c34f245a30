"""Histograms of arrays against their definition, one value at a time; what a postprocessor says in columns against its words."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.columns import Column
from penstock.dataplane import TensorMetadata
from penstock.evidence.document import Bins
from penstock.postprocess import Postprocessor
from penstock_transformer.evidence.histograms import Counter

EDGES = st.lists(st.integers(-3, 3), min_size=1, max_size=5, unique=True).map(lambda found: tuple(map(float, sorted(found))))
VALUES = st.lists(st.one_of(st.floats(-4, 4).map(lambda x: round(x * 2) / 2), st.just(math.nan)), max_size=30)


def place(edges: tuple[float, ...], value: float) -> int:
    """The definition."""
    if math.isnan(value):
        return len(edges) + 2
    if value > edges[-1]:
        return len(edges) + 1
    return sum(1 for edge in edges if edge <= value)


@given(EDGES, VALUES)
def test_numbers(edges: tuple[float, ...], values: list[float]) -> None:
    counter = Counter(Bins(edges=edges), None)
    counter.numbers(np.array(values, np.float64))
    wanted = [0] * Bins(edges=edges).size
    for value in values:
        wanted[place(edges, value)] += 1
    assert counter.told().counts == wanted


def test_texts_flags_and_what_is_missing() -> None:
    texts = Counter(Bins(values=("AA", "UA")), None)
    texts.column(Column(np.array(["AA", "DL", "", "UA", "AA"], object), np.array([False, False, True, False, False])))
    assert texts.told().counts == [2, 1, 1, 1]
    flags = Counter(Bins(values=("false", "true")), None)
    flags.column(Column(np.array([True, True, False]), np.array([False, False, True])))
    assert flags.told().counts == [0, 2, 0, 1]
    seats = Counter(Bins(edges=(0.0, 100.0)), None)
    seats.column(Column(np.array([50, 100, 0], np.int64), np.array([False, False, True])))
    assert seats.told().counts == [0, 1, 1, 0, 1]


def test_codes_of_names_in_any_order() -> None:
    counter = Counter(Bins(values=("late", "on time")), None)
    counter.codes(("on time", "late"), np.array([0, 0, 1, -1]))
    counter.codes(("cancelled", "late"), np.array([0, 1]))
    assert counter.told().counts == [2, 2, 1, 1]


def postprocessor(shape: tuple[int, ...], **given: Any) -> Postprocessor:
    kind = given.pop("kind", "classification")
    datatype = given.pop("datatype", "FP32")
    signature = ModelSignature("model.onnx", (), (TensorMetadata("y", datatype, shape),), True)
    spec = PostprocessSpec(kind, "y", **given)
    return Postprocessor(spec, Manifest("flights", "7", signature, spec, {}))


CASES = [
    (postprocessor((-1, 2), labels=("a", "b")), np.array([[0.2, 0.8], [0.5, 0.5], [math.nan, 1.0]], np.float32)),
    (postprocessor((-1, 2), labels=("a", "b"), threshold=0.35), np.array([[0.65, 0.35], [0.7, 0.3]], np.float32)),
    (postprocessor((-1, 3), activation="softmax"), np.array([[1, 2, 3], [9, 2, 3]], np.float32)),
    (postprocessor((-1,), labels=("a", "b")), np.array([0.2, 0.9], np.float32)),
    (postprocessor((-1,), datatype="INT64", labels=("a", "b")), np.array([0, 1, 1])),
    (postprocessor((-1,), kind="regression"), np.array([0.5, math.nan, 3], np.float32)),
    (postprocessor((-1,), kind="boolean"), np.array([0.2, 0.9, math.nan], np.float32)),
    (postprocessor((-1,), kind="boolean", labels=("no", "yes")), np.array([0.2, 0.9], np.float32)),
]


@pytest.mark.parametrize(("processor", "array"), CASES)
def test_columns_say_what_predictions_do(processor: Postprocessor, array: Any) -> None:
    predictions = processor.apply({"y": array})
    judged = processor.judge({"y": array})
    for row, prediction in enumerate(predictions):
        said: dict[str, Any] = {}
        for name, (names, codes) in judged.codes.items():
            code = int(codes[row])
            said[name] = None if code < 0 else names[code]
        for name, values in judged.numbers.items():
            value = float(values[row])
            said[name] = None if math.isnan(value) else value
        wanted = {name: value for name, value in prediction.items() if name != "scores"}
        wanted |= {f"scores.{label}": score for label, score in prediction.get("scores", {}).items()}
        if isinstance(wanted.get("value"), bool):
            wanted["value"] = str(wanted["value"]).lower()
        assert said == wanted
    assert judged.codes or judged.numbers

"""Post-processing: a model's outputs become predictions, the last step before an answer is written.

    outputs {name: [rows, ...]} -> Postprocessor (bundle.yaml's `postprocess`) -> one dict a row {label, scores, value | outputs}

The outputs are taken as they are: a score is a probability only if the model says so. Logits are left alone unless the bundle's
`activation` names what turns them into probabilities. Everything that comes out is a plain Python value that any JSON encoder
takes; what is not finite is None, because JSON has no word for it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.bundle.manifest import Manifest, PostprocessSpec
from penstock.errors import Internal, InvalidInput
from penstock.tensors import Array

Prediction = dict[str, Any]

_BOOLEAN_THRESHOLD = 0.5


@dataclass(slots=True)
class Judged:
    """A batch's predictions as columns, for those who count them. `numbers`: float `[rows]` by name (`value`, `scores.<label>`);
    `codes`: by name (`label`, `value` of a decision) the names and, for each row, which of them it is, -1 for none."""

    numbers: dict[str, Array] = field(default_factory=dict)
    codes: dict[str, tuple[tuple[str, ...], npt.NDArray[np.intp]]] = field(default_factory=dict)


class Postprocessor:
    """What one bundle does with its model's outputs; made once, used for every batch.

    Raises InvalidInput naming the part of `postprocess` that does not fit the model's signature.
    """

    def __init__(self, spec: PostprocessSpec, manifest: Manifest) -> None:
        self._spec = spec
        self._source = _source_of(spec, manifest)
        self._labels = spec.labels or _class_numbers(manifest, self._source)
        _check_labels(spec, manifest, self._source)
        kinds: dict[str, Callable[[dict[str, Array]], list[Prediction]]] = {
            "classification": self._classify,
            "regression": self._regress,
            "boolean": self._decide,
            "raw": self._pass_through,
            "zeroShot": self._say_nothing,
        }
        self._apply = kinds[spec.kind]

    def apply(self, outputs: dict[str, Array]) -> list[Prediction]:
        """One prediction a row of `outputs` (arrays `[rows, ...]`), in order. Raises Internal if the model broke its word."""
        return self._apply(outputs)

    def judge(self, outputs: dict[str, Array]) -> Judged:
        """What `apply` would say of each row, in columns; nothing of what it gives as it is (raw, zero-shot). Raises Internal."""
        if self._spec.kind == "classification":
            return self._judge_classes(self._read(outputs))
        if self._spec.kind == "boolean":
            return self._judge_decisions(outputs)
        if self._spec.kind == "regression":
            array = self._read(outputs)
            array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
            return Judged({"value": array}) if array.ndim == 1 and array.dtype.kind in "fiu" else Judged()
        return Judged()

    @property
    def source(self) -> str:
        """The output that predictions are read from."""
        return self._source

    def _judge_classes(self, array: Array) -> Judged:
        if array.dtype.kind != "f":
            names, codes = np.unique(np.array(self._named(_one_a_row(array, self._source)), object), return_inverse=True)
            return Judged(codes={"label": (tuple(names.tolist()), codes.reshape(-1))})
        threshold = self._spec.threshold
        scores = _activated(_both_classes(array, self._spec), self._spec.activation)
        labels = self._labels or _numbered(scores.shape[1])
        if scores.shape[1] != len(labels):
            raise Internal(f"output {self._source!r} has {scores.shape[1]} classes, bundle.yaml names {len(labels)} labels")
        chosen = _choose(scores, None if threshold is None else float(array.dtype.type(threshold)))
        chosen[np.isnan(scores).any(axis=1)] = -1
        numbers = {f"scores.{label}": scores[:, at] for at, label in enumerate(labels)}
        return Judged(numbers, {"label": (labels, chosen)})

    def _judge_decisions(self, outputs: dict[str, Array]) -> Judged:
        found = [prediction["value"] for prediction in self._decide(outputs)]
        codes = np.array([-1 if value is None else int(value) for value in found], np.intp)
        judged = Judged(codes={"value": (("false", "true"), codes)})
        if len(self._spec.labels) == 2:
            judged.codes["label"] = (self._spec.labels, codes)
        return judged

    def _classify(self, outputs: dict[str, Array]) -> list[Prediction]:
        array = self._read(outputs)
        if array.dtype.kind not in "f":
            return [{"label": label} for label in self._named(_one_a_row(array, self._source))]
        # A float32 score is held against the float32 threshold: a model that says 0.35 reaches 0.35.
        threshold = self._spec.threshold
        border = None if threshold is None else float(array.dtype.type(threshold))
        if len(self._labels) == 2 and self._spec.activation is None:
            predictions = _of_pairs(_pairs(array), self._labels, border)
            if predictions is not None:
                return predictions
        scores = _activated(_both_classes(array, self._spec), self._spec.activation)
        labels = self._labels or _numbered(scores.shape[1])
        if scores.shape[1] != len(labels):
            raise Internal(f"output {self._source!r} has {scores.shape[1]} classes, bundle.yaml names {len(labels)} labels")
        chosen = _choose(scores, border)
        rows = scores.tolist()
        if np.isfinite(scores).all():
            return [
                {"label": labels[index], "scores": dict(zip(labels, row, strict=True))}
                for index, row in zip(chosen.tolist(), rows, strict=True)
            ]
        unknown: list[bool] = np.any(np.isnan(scores), axis=1).tolist()
        return [
            {"label": None if gone else labels[index], "scores": dict(zip(labels, finite(row), strict=True))}
            for index, row, gone in zip(chosen.tolist(), rows, unknown, strict=True)
        ]

    def _named(self, classes: Array) -> list[str]:
        """Labels for a model that answers with the class itself: its text, or its number among the labels."""
        if classes.dtype.kind == "O":
            return [c.decode() if isinstance(c, bytes) else str(c) for c in classes.tolist()]
        numbers = [int(c) for c in classes.tolist()]
        if not self._spec.labels:
            return [str(n) for n in numbers]
        if any(not 0 <= n < len(self._labels) for n in numbers):
            raise Internal(f"output {self._source!r} names a class beyond the {len(self._labels)} labels of bundle.yaml")
        return [self._labels[n] for n in numbers]

    def _regress(self, outputs: dict[str, Array]) -> list[Prediction]:
        array = self._read(outputs)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        return [{"value": value} for value in plain(array)]

    def _decide(self, outputs: dict[str, Array]) -> list[Prediction]:
        array = _one_a_row(self._read(outputs), self._source)
        if array.dtype.kind == "f":
            threshold = _BOOLEAN_THRESHOLD if self._spec.threshold is None else self._spec.threshold
            scores = _sigmoid(array) if self._spec.activation == "sigmoid" else array
            above = (scores >= threshold).tolist()
            values = [None if gone else value for value, gone in zip(above, np.isnan(scores).tolist(), strict=True)]
        else:
            values = [bool(value) for value in array.tolist()]
        if len(self._spec.labels) != 2:
            return [{"value": value} for value in values]
        return [{"label": None if value is None else self._spec.labels[value], "value": value} for value in values]

    def _pass_through(self, outputs: dict[str, Array]) -> list[Prediction]:
        wanted = outputs if self._spec.source is None else {self._spec.source: self._read(outputs)}
        rows = max((len(array) for array in wanted.values() if array.ndim), default=1)
        columns = {
            name: plain(array) if array.ndim and len(array) == rows else [plain(array)] * rows for name, array in wanted.items()
        }
        return [{"outputs": {name: column[row] for name, column in columns.items()}} for row in range(rows)]

    def _say_nothing(self, outputs: dict[str, Array]) -> list[Prediction]:
        """A row says nothing about labels by itself: `penstock.zero_shot` predicts from all rows of a request."""
        return [{} for _ in range(len(self._read(outputs)))]

    def _read(self, outputs: dict[str, Array]) -> Array:
        array = outputs.get(self._source)
        if array is None or array.ndim == 0:
            raise Internal(f"the model did not answer with output {self._source!r} of shape [rows, ...]")
        return array


def plain(array: Array) -> Any:
    """An array as (nested) lists of Python values that JSON can hold: None for what is not finite, text for bytes."""
    values = array.tolist()
    if array.dtype.kind == "O" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        return finite(values)
    return values


def finite(value: Any) -> Any:
    """`value` with None in place of NaN and infinities, and text in place of bytes, at any depth."""
    if isinstance(value, list):
        return [finite(element) for element in value]
    if isinstance(value, float) and value - value != 0.0:
        return None
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _source_of(spec: PostprocessSpec, manifest: Manifest) -> str:
    """The output to read. Only a model with one output may leave it unsaid (raw reads all of them)."""
    names = [output.name for output in manifest.model.outputs]
    if spec.source is not None and spec.source not in names:
        raise InvalidInput(f"no output {spec.source!r}; expected one of {', '.join(names)}", field="postprocess.from")
    if spec.source is None and spec.kind != "raw" and len(names) != 1:
        raise InvalidInput(f"expected the output to read, one of {', '.join(names)}", field="postprocess.from")
    return spec.source or names[0]


def _class_numbers(manifest: Manifest, source: str) -> tuple[str, ...]:
    """Labels where bundle.yaml names none: the classes' numbers; none yet if the signature leaves their count open."""
    width = _width(manifest, source)
    return _numbered(2 if width == 1 else max(width, 0))


def _numbered(classes: int) -> tuple[str, ...]:
    return tuple(str(n) for n in range(classes))


def _check_labels(spec: PostprocessSpec, manifest: Manifest, source: str) -> None:
    if spec.kind == "classification" and spec.labels and _is_float(manifest, source):
        width = _width(manifest, source)
        classes = 2 if width == 1 else width
        if classes not in (-1, len(spec.labels)):
            raise InvalidInput(
                f"expected {classes} labels for output {source!r}, got {len(spec.labels)}", field="postprocess.labels"
            )
    if len(set(spec.labels)) != len(spec.labels):
        raise InvalidInput("expected every label once", field="postprocess.labels")
    if spec.threshold is not None and spec.kind == "classification" and len(spec.labels) not in (0, 2):
        raise InvalidInput("expected two labels where there is a threshold", field="postprocess.threshold")


def _width(manifest: Manifest, source: str) -> int:
    """Scores a row that the signature promises: -1 if it does not say, 1 for one number a row."""
    shape = next(output.shape for output in manifest.model.outputs if output.name == source)
    return 1 if len(shape) < 2 else shape[1]


def _is_float(manifest: Manifest, source: str) -> bool:
    return next(output.datatype for output in manifest.model.outputs if output.name == source).startswith("FP")


def _one_a_row(array: Array, source: str) -> Array:
    """`[rows]` of an array that is `[rows]` or `[rows, 1]`."""
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim != 1:
        raise Internal(f"output {source!r} has shape {list(array.shape)}, expected [rows] or [rows, 1]")
    return array


def _choose(scores: Array, border: float | None) -> npt.NDArray[np.intp]:
    """The winning class a row: by threshold where there are two classes and one is given, else the greatest score."""
    if border is not None and scores.shape[1] == 2:
        return (scores[:, 1] >= border).astype(np.intp)
    return np.asarray(scores.argmax(axis=1), np.intp)


def _pairs(array: Array) -> list[Any]:
    """`[rows][2]` scores of two classes as Python numbers; empty if the array is not of that shape."""
    if array.ndim == 2 and array.shape[1] == 2:
        return array.tolist()  # type: ignore[no-any-return]
    if array.ndim == 1 or array.shape[1:] == (1,):
        return [(1.0 - second, second) for second in array.ravel().tolist()]
    return []


def _of_pairs(pairs: list[Any], labels: tuple[str, ...], border: float | None) -> list[Prediction] | None:
    """Predictions of two classes, the usual case: a pass over Python numbers costs less than numpy's calls do for a few rows.

    None if a score is not finite, or there are no rows.
    """
    remainder = 0.0
    for one, other in pairs:
        remainder += (one - one) + (other - other)
    if remainder != 0.0 or not pairs:
        return None
    first, second = labels
    if border is None:
        return [{"label": second if b > a else first, "scores": {first: a, second: b}} for a, b in pairs]
    return [{"label": second if b >= border else first, "scores": {first: a, second: b}} for a, b in pairs]


def _both_classes(array: Array, spec: PostprocessSpec) -> Array:
    """`[rows, classes]`: one number a row is the second class's score, the first class has the rest of 1 (0 or -x for logits)."""
    if array.ndim == 2 and array.shape[1] != 1:
        return array
    if array.ndim > 2:
        raise Internal(f"an output of shape {list(array.shape)} cannot be read as [rows, classes]")
    second = array.reshape(len(array)).astype(np.float64)
    if spec.activation == "softmax":
        return np.stack([np.zeros_like(second), second], axis=1)
    if spec.activation == "sigmoid":
        return np.stack([-second, second], axis=1)
    return np.stack([1 - second, second], axis=1)


def _activated(scores: Array, activation: str | None) -> Array:
    if activation is None:
        return scores
    return _softmax(scores) if activation == "softmax" else _sigmoid(scores)


def _softmax(scores: Array) -> Array:
    """Row-wise; the greatest score is taken off first so that nothing overflows."""
    with np.errstate(invalid="ignore", over="ignore"):
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _sigmoid(scores: Array) -> Array:
    """Element-wise 1 / (1 + e^-x), by the form that cannot overflow on either side."""
    small = np.exp(-np.abs(scores))
    return np.asarray(np.where(scores >= 0, 1 / (1 + small), small / (1 + small)).astype(scores.dtype))

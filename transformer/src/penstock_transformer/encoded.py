"""What the encoder made, looked at once before the model sees it: NaN out of a value that was there.

    tensors {name: [rows, ...]} --check--> first fault of each row whose feature must be a number

An encoding may have no result for a value (the logarithm of what is below zero), and a model answers NaN with nonsense that looks
like a prediction. NaN is let through where the spec says so: features that are kept missing or read one that is, and encodings or
defaults that name `.nan` themselves. The usual batch has none, which one pass over each tensor establishes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.plan import FeaturePlan, Plan
from penstock.features.spec import Feature
from penstock.tensors import Array

_SHOWN = 40


@dataclass(frozen=True, slots=True)
class _Watched:
    """A float tensor: the columns that must be numbers, and the feature of each of those."""

    name: str
    columns: npt.NDArray[np.intp]
    features: tuple[Feature, ...]


class EncodedCheck:
    """Finds the rows of a batch that an encoding has made NaN of. Made once per bundle, from its encoder's plan."""

    __slots__ = ("_watched",)

    def __init__(self, plan: Plan) -> None:
        self._watched = tuple(w for t in plan.tensors if t.kind.startswith("float") for w in _watched(plan, t.name, t.parts))

    def faults(self, tensors: dict[str, Array], columns: dict[str, Column]) -> dict[int, InvalidInput]:
        """The first fault of each row, field `rows[i].name`, from the encoder's output and the `columns` that it was made of."""
        found: dict[int, InvalidInput] = {}
        for watched in self._watched:
            nan = np.isnan(tensors[watched.name])
            if not nan.any():
                continue
            mine = nan.reshape(len(nan), -1)[:, watched.columns]
            for row in np.flatnonzero(mine.any(axis=1)).tolist():
                if row not in found:
                    feature = watched.features[int(mine[row].argmax())]
                    found[row] = _fault(feature, columns[feature.name], row)
        return found


def _watched(plan: Plan, name: str, parts: Sequence[str]) -> list[_Watched]:
    """The tensor, unless none of its columns need be looked at. Images are numbers whatever they show."""
    places: list[int] = []
    features: list[Feature] = []
    start = 0
    for part in parts:
        made = plan.features[part]
        width = made.result.width
        if made.image is None and not _may_be_nan(plan, made):
            places += range(start, start + width)
            features += [made.feature] * width
        start += width
    return [_Watched(name, np.array(places, np.intp), tuple(features))] if places else []


def _may_be_nan(plan: Plan, made: FeaturePlan) -> bool:
    read = [made, *(plan.features[other] for step in made.steps for other in step.needs())]
    if any(one.feature.missing.policy == "keep" or _names_nan(one.feature.missing.default) for one in read):
        return True
    return any(_names_nan(step.parameters) for step in made.feature.encode)


def _names_nan(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_names_nan, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_names_nan, value))
    return isinstance(value, float) and math.isnan(value)


def _fault(feature: Feature, column: Column, row: int) -> InvalidInput:
    steps = ", ".join(step.kind for step in feature.encode) or "passthrough"
    default = f"the default {feature.missing.default}"
    got = (default if column.missing[row] else str(column.values[row]))[:_SHOWN]
    name = feature.column if feature.set is None else feature.name
    message = f"not a number after encoding ({steps}); expected a value that has an encoding, got {got}"
    return InvalidInput(message, field=f"rows[{row}].{name}")

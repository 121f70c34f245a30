"""Fitting: a draft spec and training data to a whole spec.

    draft + rows -> for each feature: default in place -> step 1 fitted, applied -> step 2 fitted, applied -> FeatureSpec

What the draft gives stays as it is; only what it leaves out is computed. A step is fitted to what reaches it in serving: behind
the defaults and behind the steps before it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.definition import raw_value
from penstock.features.encodings import ENCODINGS
from penstock.features.frames import columns_of
from penstock.features.plan import FeaturePlan, FeatureScope, Plan, make_step, plan, step_path
from penstock.features.spec import Feature, FeatureSpec, Step
from penstock.features.value import Value
from penstock.tensors import Array

Progress = Callable[[str], None]


def fit_spec(draft: FeatureSpec, frame: Any, *, target: str | None = None, progress: Progress | None = None) -> FeatureSpec:
    """The spec with every parameter that the draft left out computed from a data frame (or a mapping of arrays).

    `target` names the column that target encodings learn from. Rows that lack a value which must be there (`missing: reject`) are
    left out of that feature's fit. `progress` is told each feature's name. Raises InvalidInput naming the feature or field.
    """
    planned = plan(draft, draft=True)
    if target is None:
        _refuse_without_target(draft, planned)
    needed = {name for f in planned.features.values() for step in f.steps for name in step.needs()}
    used = [f for name, f in planned.features.items() if f in planned.inputs or name in needed]
    columns = columns_of(used, frame)
    goal = None if target is None else _target(frame, target)
    features = []
    for index, feature in enumerate(draft.features):
        if progress is not None:
            progress(feature.name)
        column = columns.get(feature.name)
        features.append(feature if column is None else _fit_feature(planned, index, feature, columns, goal))
    fitted = replace(draft, features=tuple(features))
    plan(fitted)
    return fitted


def _refuse_without_target(draft: FeatureSpec, planned: Plan) -> None:
    """Raises InvalidInput, naming the step, if one that is to be fitted learns from the target."""
    for index, feature in enumerate(draft.features):
        for position, step in enumerate(feature.encode):
            if ENCODINGS[step.kind].needs_target and _is_open(step, planned.features[feature.name]):
                path = step_path(feature, index, position)
                raise InvalidInput(f"{step.kind} is fitted to a target; name its column with --target", field=path)


def _target(frame: Any, name: str) -> Array:
    try:
        values = np.asarray(frame[name])
    except KeyError:
        raise InvalidInput("the data has no column of this name", field=name) from None
    try:
        goal = values.astype(np.float64)
    except (TypeError, ValueError):
        raise InvalidInput("expected numbers, or true and false", field=name) from None
    if np.isnan(goal).any():
        raise InvalidInput("expected a value in every row", field=f"rows[{int(np.isnan(goal).argmax())}].{name}")
    return goal


def _fit_feature(planned: Plan, index: int, feature: Feature, columns: dict[str, Column], goal: Array | None) -> Feature:
    planned_feature = planned.features[feature.name]
    if planned_feature.image is not None or not any(_is_open(step, planned_feature) for step in feature.encode):
        return feature
    keep = _usable_rows(planned_feature, columns)
    raws = {
        name: _part(planned.features[name], column, keep)
        for name, column in columns.items()
        if planned.features[name].image is None
    }
    goal = None if goal is None else goal[keep]
    scope = FeatureScope(feature.name, {name: f.raw for name, f in planned.features.items()})
    value, given = raws[feature.name], planned_feature.raw
    steps = []
    with np.errstate(all="ignore"):
        for position, step in enumerate(feature.encode):
            path = step_path(feature, index, position)
            try:
                encoding = ENCODINGS[step.kind]
                parameters = encoding.fit(value, dict(step.parameters), goal if encoding.needs_target else None)
            except InvalidInput as error:
                raise InvalidInput(error.message, field=path) from None
            fitted = Step(step.kind, parameters)
            made = make_step(fitted, given, scope, path, draft=False)
            value, given = made.apply(value, {name: raws[name] for name in made.needs()}), made.result(given)
            steps.append(fitted)
    return replace(feature, encode=tuple(steps))


def _is_open(step: Step, feature: FeaturePlan) -> bool:
    """Whether a step leaves anything for fitting to fill in."""
    return bool(ENCODINGS[step.kind].placeholders(feature.raw).keys() - step.parameters.keys())


def _usable_rows(feature: FeaturePlan, columns: dict[str, Column]) -> Array:
    name = feature.feature.name
    if feature.feature.missing.policy != "reject":
        return np.ones(len(columns[name].values), np.bool_)
    keep: Array = ~columns[name].missing
    if not keep.any():
        raise InvalidInput("every row lacks a value", field=name)
    return keep


def _part(feature: FeaturePlan, column: Column, keep: Array) -> Value:
    return raw_value(feature, Column(column.values[keep], column.missing[keep]))

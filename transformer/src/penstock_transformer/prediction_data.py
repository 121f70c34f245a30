"""What is told beside a prediction: the data it was made from, which defaults were taken, how old the stored values were."""

from typing import Any

import numpy as np

from penstock.columns import Column
from penstock.features.spec import Feature
from penstock.features.texts import Truncated
from penstock_transformer.plan import FetchPlan
from penstock_transformer.resolution import Resolved, ages_a_row


def add_data(predictions: list[dict[str, Any]], plan: FetchPlan, resolved: Resolved, *, with_data: bool, degraded: bool) -> None:
    """Complete predictions, one a row: `data` (raw values, defaults in place; images left out), `defaulted`, `ages_s`.

    `degraded` True marks answers that were made without the feature store.
    """
    rows = len(predictions)
    ages = ages_a_row(resolved.ages, rows)
    defaulted = resolved.defaulted
    if with_data:
        names = [f.name for f in plan.shown]
        raw, columns = resolved.raw, resolved.columns
        if resolved.complete and plan.plain_values:
            lists = [(raw.get(name) or columns[name]).values.tolist() for name in names]
        else:
            lists = [_values(f, raw.get(f.name) or columns[f.name]) for f in plan.shown]
        for prediction, values in zip(predictions, zip(*lists, strict=True) if lists else [()] * rows, strict=True):
            prediction["data"] = dict(zip(names, values))  # noqa: B905 - one value a name by construction, and this is the hot loop
    for prediction, names, age in zip(predictions, defaulted or [[] for _ in ages], ages, strict=True):
        prediction["defaulted"] = names
        prediction["ages_s"] = age
    if degraded:
        for prediction in predictions:
            prediction["degraded"] = True


def add_truncated(predictions: list[dict[str, Any]], truncated: Truncated) -> None:
    """Say of each prediction which of its texts were cut to the model's length: `truncated`, their names."""
    for row, prediction in enumerate(predictions):
        prediction["truncated"] = [name for name, rows in truncated.items() if rows[row]]


def _values(feature: Feature, column: Column) -> list[Any]:
    values: list[Any] = column.values.tolist()
    if feature.type.startswith("list<"):
        values = [json_value(v) for v in values]
    if column.missing.any():
        stand_in = feature.missing.default if feature.missing.policy == "default" else None
        return [stand_in if gone else value for value, gone in zip(values, column.missing.tolist(), strict=True)]
    return values


def json_values(column: Column) -> list[Any]:
    """A stored column as JSON values, None where missing."""
    values: list[Any] = column.values.tolist()
    if column.values.dtype == object:
        values = [value if type(value) is str else json_value(value) for value in values]
    if column.missing.any():
        return [None if gone else value for value, gone in zip(values, column.missing.tolist(), strict=True)]
    return values


def json_value(value: Any) -> Any:
    """A stored value as something that JSON can hold: arrays as lists, bytes as text where they are text."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value

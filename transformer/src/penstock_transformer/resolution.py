"""Resolution: what a missing or too old value means for each row, and what is told about it.

    Gathered -> (maxAge, missing policy) -> Resolved: the encoder's columns, defaulted names and ages a row, refused rows

The defaults themselves are put in by the encoder's graph (so that training code does the same); here a value is only declared
missing. The usual batch has nothing missing and nothing too old, which one check over all masks establishes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.spec import Feature
from penstock_transformer.gathering import Gathered, as_feature
from penstock_transformer.plan import FetchPlan, SetPlan
from penstock_transformer.store.port import SetColumns

Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Resolved:
    """`columns`: one per feature, `[rows]`. `defaulted`: the names a row whose default stands for the value, or None when no
    row has any. `ages`: float64 `[rows]` seconds per set, NaN without a value. `refused`: first fault of each row that is
    refused."""

    columns: dict[str, Column]
    defaulted: list[list[str]] | None
    ages: dict[str, npt.NDArray[np.float64]]
    refused: dict[int, InvalidInput]

    def kept(self, keep: Mask) -> "Resolved":
        """Only the rows where `keep` is True; none of them is refused."""
        columns = {name: Column(c.values[keep], c.missing[keep]) for name, c in self.columns.items()}
        defaulted = (
            [names for names, stays in zip(self.defaulted, keep.tolist(), strict=True) if stays] if self.defaulted else None
        )
        return Resolved(columns, defaulted, {name: ages[keep] for name, ages in self.ages.items()}, {})


def resolve(plan: FetchPlan, gathered: Gathered, now_s: float) -> Resolved:
    """Apply the spec's policies at `now_s` (seconds since the epoch). Raises InvalidInput for a stored value of the wrong
    type."""
    columns: dict[str, Column] = dict(gathered.requested)
    ages = {}
    for one in plan.sets:
        answer = gathered.stored[one.name]
        age = now_s - answer.event_times
        ages[one.name] = np.maximum(age, 0.0)
        _resolve_set(one, answer, age, columns)
    ordered = {f.name: columns[f.name] for f in plan.spec.features}
    resolved = Resolved(ordered, None, ages, {})
    masks = [c.missing for c in ordered.values()]
    if masks and np.concatenate(masks).any():
        _apply_policies(plan, resolved)
    return resolved


def _resolve_set(one: SetPlan, answer: SetColumns, age: npt.NDArray[np.float64], columns: dict[str, Column]) -> None:
    stale_by_age: dict[float, Mask | None] = {}
    for feature in one.features:
        column = as_feature(answer.columns[feature.column], feature)
        limit = one.max_age_s if feature.max_age_s is None else feature.max_age_s
        if limit is not None:
            if limit not in stale_by_age:
                stale = age > limit
                stale_by_age[limit] = stale if stale.any() else None
            too_old = stale_by_age[limit]
            if too_old is not None:
                column = _without(column, too_old)
        columns[feature.name] = column


def _without(column: Column, gone: Mask) -> Column:
    values = column.values.copy()
    values[gone] = np.nan if values.dtype.kind == "f" else "" if values.dtype.kind == "O" else 0
    return Column(values, column.missing | gone)


def _apply_policies(plan: FetchPlan, resolved: Resolved) -> None:
    rows = len(next(iter(resolved.columns.values())).missing)
    defaulted: list[list[str]] = [[] for _ in range(rows)]
    any_defaulted = False
    for feature in plan.spec.features:
        missing = resolved.columns[feature.name].missing
        policy = feature.missing.policy
        if policy == "keep" or not missing.any():
            continue
        for row in np.flatnonzero(missing).tolist():
            if policy == "default":
                defaulted[row].append(feature.name)
                any_defaulted = True
            elif row not in resolved.refused:
                resolved.refused[row] = _refusal(plan, feature, resolved, row)
    if any_defaulted:
        resolved.defaulted = defaulted


def _refusal(plan: FetchPlan, feature: Feature, resolved: Resolved, row: int) -> InvalidInput:
    field = f"rows[{row}].{feature.column if feature.set is None else feature.name}"
    if feature.set is None:
        return InvalidInput(f"missing; expected a {feature.type}", field=field)
    one = next(s for s in plan.sets if s.name == feature.set)
    limit = one.max_age_s if feature.max_age_s is None else feature.max_age_s
    age = float(resolved.ages[one.name][row])
    key = ", ".join(one.key_columns)
    if np.isnan(age):
        return InvalidInput(f"missing: the store has no {one.name} for this row's {key}", field=field)
    if limit is not None and age > limit:
        return InvalidInput(f"the stored value is {age:.0f} s old, at most {limit:.0f} s is allowed", field=field)
    return InvalidInput(f"missing: {one.name} has no value of {feature.column} for this row's {key}", field=field)


def ages_a_row(ages: dict[str, npt.NDArray[np.float64]], rows: int) -> list[dict[str, Any]]:
    """The ages as one dict a row `{set: seconds}`, None for a set without a value for that row."""
    if not ages:
        return [{} for _ in range(rows)]
    names = list(ages)
    lists: list[Sequence[Any]] = [[a if a == a else None for a in np.round(age, 3).tolist()] for age in ages.values()]
    if len(names) == 1:
        name = names[0]
        return [{name: a} for a in lists[0]]
    return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]

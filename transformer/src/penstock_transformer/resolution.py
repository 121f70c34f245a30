"""Resolution: what a missing or too old value means for each row, and what is told about it.

    Gathered -> (maxAge, missing policy) -> Resolved: the encoder's columns, defaulted names and ages a row, refused rows

The defaults themselves are put in by the encoder's graph (so that training code does the same); here a value is only declared
missing. The usual batch has nothing missing and nothing too old, which one check over all masks establishes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.spec import Feature
from penstock_transformer.gathering import Gathered, converted
from penstock_transformer.plan import FetchPlan
from penstock_transformer.store_counters import StoreCounters

Mask = npt.NDArray[np.bool_]
Ages = npt.NDArray[np.float64]


@dataclass(slots=True)
class Resolved:
    """`columns`: one per feature, `[rows]`. `raw`: the same as the store holds them, where that is another type. `complete`:
    nothing is missing anywhere. `defaulted`: the names a row whose default stands for the value, or None when no row has any.
    `ages`: float64 `[rows]` seconds per set, NaN without a value. `refused`: first fault of each row that is refused;
    `lacking`: the feature that it is about."""

    columns: dict[str, Column]
    raw: dict[str, Column]
    complete: bool
    defaulted: list[list[str]] | None
    ages: dict[str, npt.NDArray[np.float64]]
    refused: dict[int, InvalidInput]
    lacking: dict[int, Feature] = field(default_factory=dict)

    def kept(self, keep: Mask) -> "Resolved":
        """Only the rows where `keep` is True; none of them is refused."""
        columns, raw = _kept(self.columns, keep), _kept(self.raw, keep)
        defaulted = self.defaulted
        if defaulted is not None:
            defaulted = [names for names, stays in zip(defaulted, keep.tolist(), strict=True) if stays]
        return Resolved(columns, raw, False, defaulted, {name: ages[keep] for name, ages in self.ages.items()}, {})


def _kept(columns: dict[str, Column], keep: Mask) -> dict[str, Column]:
    return {name: Column(c.values[keep], c.missing[keep]) for name, c in columns.items()}


def resolve(plan: FetchPlan, gathered: Gathered, now_s: float, counters: StoreCounters | None = None) -> Resolved:
    """Apply the spec's policies at `now_s` (seconds since the epoch). Raises InvalidInput for a stored value of the wrong
    type."""
    columns: dict[str, Column] = dict(gathered.requested)
    raw: dict[str, Column] = {}
    ages: dict[str, Ages] = {}
    stale: dict[str, Mask] = {}
    masks = [c.missing for c in columns.values()]
    for one in plan.sets:
        answer = gathered.stored[one.name]
        ages[one.name] = age = np.maximum(now_s - answer.event_times, 0.0)
        for limit, names in one.limits:
            too_old = age > limit
            if too_old.any():
                stale |= dict.fromkeys(names, too_old)
                if counters is not None:
                    counters.stale(one.name, int(too_old.sum()))
        stored = answer.columns
        masks += [stored[name].missing for name in one.columns]
    complete = not stale and not (masks and np.concatenate(masks).any())
    with np.errstate(over="raise"):
        for one in plan.sets:
            stored = gathered.stored[one.name].columns
            for feature, dtype in one.typed:
                name = feature.name
                column = stored[feature.column]
                if name in stale:
                    column = column.without(stale[name])
                if column.values.dtype is dtype:
                    columns[name] = column
                else:
                    raw[name] = column
                    columns[name] = converted(column, feature)
    resolved = Resolved(columns, raw, complete, None, ages, {})
    if not complete:
        counters = counters or StoreCounters()
        _count_absent(plan, gathered, ages, counters)
        _apply_policies(plan, resolved, counters)
    return resolved


def _count_absent(plan: FetchPlan, gathered: Gathered, ages: dict[str, Ages], counters: StoreCounters) -> None:
    """A record that nobody asked for is not one that the store should have held."""
    for name, known in ages.items():
        unasked = plan.record is not None and name == plan.record.name and gathered.found is None
        absent = 0 if unasked else int(np.isnan(known).sum())
        if absent:
            counters.absent(name, absent)


def _apply_policies(plan: FetchPlan, resolved: Resolved, counters: StoreCounters) -> None:
    rows = len(next(iter(resolved.columns.values())).missing)
    defaulted: list[list[str]] = [[] for _ in range(rows)]
    any_defaulted = False
    for feature in plan.spec.features:
        missing = resolved.columns[feature.name].missing
        policy = feature.missing.policy
        if policy == "keep" or not missing.any():
            continue
        (counters.defaulted if policy == "default" else counters.refused)(feature.name, int(missing.sum()))
        for row in np.flatnonzero(missing).tolist():
            if policy == "default":
                defaulted[row].append(feature.name)
                any_defaulted = True
            elif row not in resolved.refused:
                resolved.refused[row] = _refusal(plan, feature, resolved, row)
                resolved.lacking[row] = feature
    if any_defaulted:
        resolved.defaulted = defaulted


def _article(feature_type: str) -> str:
    return "an" if feature_type.startswith(("int", "image")) else "a"


def _refusal(plan: FetchPlan, feature: Feature, resolved: Resolved, row: int) -> InvalidInput:
    where = f"rows[{row}].{feature.column if feature.set is None else feature.name}"
    record = plan.record
    if feature.set is None and record is not None and record.max_age_s is not None and feature.column in plan.fills:
        age = float(resolved.ages[record.name][row])
        if age > record.max_age_s:
            return _too_old("record that would bring it", age, record.max_age_s, where)
    if feature.set is None:
        return InvalidInput(f"missing; expected {_article(feature.type)} {feature.type}", field=where)
    one = next(s for s in plan.sets if s.name == feature.set)
    limit = one.max_age_s if feature.max_age_s is None else feature.max_age_s
    age = float(resolved.ages[one.name][row])
    key = ", ".join(one.key_columns)
    if np.isnan(age):
        return InvalidInput(f"missing: the store has no {one.name} for this row's {key}", field=where)
    if limit is not None and age > limit:
        return _too_old("stored value", age, limit, where)
    return InvalidInput(f"missing: {one.name} has no value of {feature.column} for this row's {key}", field=where)


def _too_old(what: str, age_s: float, limit_s: float, where: str) -> InvalidInput:
    return InvalidInput(f"the {what} is {age_s:.0f} s old, at most {limit_s:.0f} s is allowed", field=where)


def ages_a_row(ages: dict[str, npt.NDArray[np.float64]], rows: int) -> list[dict[str, Any]]:
    """The ages as one dict a row `{set: seconds}`, None for a set without a value for that row."""
    if not ages:
        return [{} for _ in range(rows)]
    names = list(ages)
    lists: list[Sequence[Any]] = [[a if a == a else None for a in age.round(3).tolist()] for age in ages.values()]
    if len(names) == 1:
        name = names[0]
        return [{name: a} for a in lists[0]]
    return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]

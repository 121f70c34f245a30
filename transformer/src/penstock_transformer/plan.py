"""The fetch plan: what a feature spec means for reading rows, worked out once per bundle instead of once per batch.

    FeatureSpec -> FetchPlan (which columns callers bring, which sets are read by which keys, what the record can fill in)

A plan that exists can be carried out: a set whose view was not stamped, or a column that the view lacks, is refused here, when
the bundle is loaded, and never in the middle of a request.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from penstock.columns import FEATURE_DTYPES
from penstock.errors import InvalidInput
from penstock.features.spec import Feature, FeatureSet, FeatureSpec, StoreLayout, ViewLayout

_OBJECT = np.dtype(object)

# The store's value types (Feast's names) that a feature of each type can be made from; equal types need no entry.
_FITTING = {
    "string": {"uuid", "time_uuid", "decimal"},
    "bool": set[str](),
    "int32": {"int64", "bool"},
    "int64": {"int32", "bool", "unix_timestamp"},
    "float32": {"float", "double", "int32", "int64", "bool"},
    "float64": {"float", "double", "int32", "int64", "bool", "unix_timestamp"},
    "timestamp": {"unix_timestamp", "int64", "double", "float64"},
    "image": {"bytes"},
}


@dataclass(frozen=True)
class SetPlan:
    """How one stored set is read: `key_columns` are the request columns of its join keys, in the layout's order; `columns` the
    view's value columns that features are made from; `features` those features in the spec's order; `stored_types` the type of
    every value column of the view."""

    name: str
    view: str
    join_keys: tuple[str, ...]
    key_columns: tuple[str, ...]
    key_types: tuple[str, ...]
    columns: tuple[str, ...]
    features: tuple[Feature, ...]
    stored_types: dict[str, str]
    max_age_s: float | None

    @cached_property
    def typed(self) -> tuple[tuple[Feature, "np.dtype[Any]"], ...]:
        """Each feature and the dtype of its column."""
        return tuple((f, FEATURE_DTYPES.get(f.type, _OBJECT)) for f in self.features)

    @cached_property
    def limits(self) -> tuple[tuple[float, tuple[str, ...]], ...]:
        """Each age in seconds that values are held to, and the features that it holds for."""
        ages = {f.name: self.max_age_s if f.max_age_s is None else f.max_age_s for f in self.features}
        limits = dict.fromkeys(age for age in ages.values() if age is not None)
        return tuple((limit, tuple(name for name, age in ages.items() if age == limit)) for limit in limits)


@dataclass(frozen=True)
class FetchPlan:
    """Everything about a spec that a batch needs to know before it encodes.

    `accepted`: every name that a row may hold. `requested`: features that callers bring. `record` is the record's set, `fills`
    the request columns (features and other sets' keys) that its columns stand for, `record_columns` all that it stores, with
    types. `degradable`: no stored feature is refused when missing, so an answer is possible without the store.
    """

    spec: FeatureSpec
    accepted: frozenset[str]
    requested: tuple[Feature, ...]
    sets: tuple[SetPlan, ...]
    record: SetPlan | None
    fills: tuple[str, ...]
    record_columns: dict[str, str]
    degradable: bool
    column_types: dict[str, str]

    @cached_property
    def shown(self) -> tuple[Feature, ...]:
        """The features whose values a prediction can show: all but images."""
        return tuple(f for f in self.spec.features if f.type != "image")

    @cached_property
    def plain_values(self) -> bool:
        """Whether what is shown are single values, no lists."""
        return not any(f.type.startswith("list<") for f in self.spec.features)

    @cached_property
    def heavy(self) -> bool:
        """Whether a row may hold values that are large: images, lists, and texts that are taken apart."""
        if any(step.kind in ("tokenise", "words") for f in self.spec.features for step in f.encode):
            return True
        return any(f.type == "image" or f.type.startswith("list<") for f in self.requested)

    @cached_property
    def stored_names(self) -> dict[str, str]:
        """Where each stored feature is read: name to `set.column`."""
        return {f.name: f"{s.name}.{f.column}" for s in self.sets for f in s.features}

    @property
    def layout(self) -> StoreLayout | None:
        """The store's layout, None for a bundle whose features all come with the request."""
        return self.spec.store if self.sets else None

    @property
    def others(self) -> tuple[SetPlan, ...]:
        """The sets that are not the record's."""
        return tuple(s for s in self.sets if s is not self.record)


def plan_of(spec: FeatureSpec) -> FetchPlan:
    """The plan of a spec. Raises InvalidInput naming the set or feature that the stamped store layout does not hold."""
    record_set = spec.record.set if spec.record else None
    used = [s for s in spec.sets.values() if spec.stored(s.name) or s.name == record_set]
    sets = tuple(_set_plan(spec, s) for s in used)
    record = next((s for s in sets if s.name == record_set), None)
    requested = spec.requested()
    record_columns = _view(spec, spec.sets[record.name]).values if record else {}
    own_keys = set(record.key_columns) if record else set()
    wanted = [f.column for f in requested] + [c for s in sets if s is not record for c in s.key_columns]
    keys = {c: t for s in sets for c, t in zip(s.key_columns, s.key_types, strict=True)}
    return FetchPlan(
        spec=spec,
        accepted=frozenset(f.column for f in requested) | frozenset(keys),
        requested=requested,
        sets=sets,
        record=record,
        fills=tuple(dict.fromkeys(c for c in wanted if c in record_columns and c not in own_keys)),
        record_columns=record_columns,
        degradable=all(f.missing.policy != "reject" for s in sets for f in s.features),
        column_types=keys | {f.column: f.type for f in requested},
    )


def _view(spec: FeatureSpec, feature_set: FeatureSet) -> ViewLayout:
    where = f"sets.{feature_set.name}"
    if spec.store is None:
        raise InvalidInput(
            "the spec reads stored features but has no `store` layout; build it with `penstock bundle build`", field=where
        )
    view = spec.store.views.get(feature_set.view)
    if view is None:
        known = ", ".join(sorted(spec.store.views)) or "none"
        raise InvalidInput(f"view {feature_set.view!r} is not in the store layout; it has {known}", field=where)
    return view


def _set_plan(spec: FeatureSpec, feature_set: FeatureSet) -> SetPlan:
    view = _view(spec, feature_set)
    if set(view.keys) != set(feature_set.keys):
        raise InvalidInput(
            f"expected the join keys {sorted(view.keys)}, got {sorted(feature_set.keys)}", field=f"sets.{feature_set.name}.keys"
        )
    features = spec.stored(feature_set.name)
    for feature in features:
        _check_column(feature, feature_set, view)
    return SetPlan(
        name=feature_set.name,
        view=feature_set.view,
        join_keys=tuple(view.keys),
        key_columns=tuple(feature_set.keys[k] for k in view.keys),
        key_types=tuple(view.keys.values()),
        columns=tuple(dict.fromkeys(f.column for f in features)),
        features=features,
        stored_types=view.values,
        max_age_s=feature_set.max_age_s,
    )


def _check_column(feature: Feature, feature_set: FeatureSet, view: ViewLayout) -> None:
    stored = view.values.get(feature.column)
    if stored is None:
        raise InvalidInput(
            f"view {feature_set.view!r} has no column {feature.column!r}; it has {', '.join(view.values)}", field=feature.name
        )
    if feature.type in FEATURE_DTYPES and stored != feature.type and stored not in _FITTING[feature.type]:
        raise InvalidInput(f"a {feature.type} feature cannot be made from stored {stored}", field=feature.name)

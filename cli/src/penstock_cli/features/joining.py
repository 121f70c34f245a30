"""The point-in-time join: every stored feature of a spec as it was known at each row's time, through Feast's offline store.

    rows (request features, keys, time) --record's set--> keys and features that it fills in --other sets--> a column a feature

What serving would call too old must be missing here too, or training sees values that serving never has: the join runs with the
smaller of the view's ttl and the feature's `maxAge`, on a copy of the view that the registry never sees.
"""

import copy
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from penstock.errors import InvalidInput
from penstock.features.spec import Feature, FeatureSet, FeatureSpec
from penstock_cli.features.registry import inside, layout_of, quiet
from penstock_transformer.store.entity_keys import EntityKeyCodec

_TIME = "event_timestamp"
_ROW = "penstock_row"


class PointInTime:
    """Joins for one spec. `frame` has a column per request feature or key that the record does not hold, and the time `time`."""

    def __init__(self, store: Any, spec: FeatureSpec, frame: pd.DataFrame, time: str) -> None:
        if time not in frame.columns:
            raise InvalidInput(f"no column {time!r}; name the rows' time with --time", field="--time")
        self._store = store
        self._spec = spec
        self._rows = len(frame)
        self._layout = layout_of(store, [one.view for one in spec.sets.values()])
        self._given: dict[str, list[Any]] = {str(name): frame[name].tolist() for name in frame.columns}
        try:
            self.times = pd.to_datetime(frame[time], utc=True)
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"not times: {error}", field=time) from None

    def values(self) -> dict[str, list[Any]]:
        """A list a feature of the spec, by the feature's name, None where missing."""
        spec = self._spec
        stored: dict[str, list[Any]] = {}
        record = spec.sets[spec.record.set] if spec.record else None
        for one in sorted(spec.sets.values(), key=lambda each: each is not record):
            features = spec.stored(one.name)
            fills = self._fills() if one is record else []
            for columns, max_age_s in self._groups(one, features, fills):
                joined = self._joined(one, columns, max_age_s)
                for column in columns:
                    self._take(joined[column], column, features, max_age_s, one, stored)
                    if column in fills:
                        self._fill(column, joined[column])
        return {feature.name: self._requested(feature) for feature in spec.requested()} | stored

    @staticmethod
    def _take(
        values: list[Any],
        column: str,
        features: Sequence[Feature],
        max_age_s: float | None,
        one: FeatureSet,
        out: dict[str, list[Any]],
    ) -> None:
        for feature in features:
            if feature.column == column and _max_age(feature, one) == max_age_s:
                out[feature.name] = values

    def _fills(self) -> list[str]:
        """The columns of the record that stand for request features and for the keys of other sets."""
        spec = self._spec
        assert spec.record is not None
        record = spec.sets[spec.record.set]
        columns = self._layout.views[record.view].values
        wanted = [f.column for f in spec.requested()]
        wanted += [column for one in spec.sets.values() if one is not record for column in one.keys.values()]
        return [column for column in dict.fromkeys(wanted) if column in columns]

    def _groups(self, one: FeatureSet, features: Sequence[Feature], fills: list[str]) -> list[tuple[list[str], float | None]]:
        groups: dict[float | None, list[str]] = {}
        for feature in features:
            groups.setdefault(_max_age(feature, one), []).append(feature.column)
        if fills:
            groups.setdefault(one.max_age_s, []).extend(fills)
        return [(list(dict.fromkeys(columns)), max_age_s) for max_age_s, columns in groups.items()]

    def _joined(self, one: FeatureSet, columns: list[str], max_age_s: float | None) -> dict[str, list[Any]]:
        entities, rows_of = self._entities(one)
        out: dict[str, list[Any]] = {column: [None] * self._rows for column in columns}
        if entities.empty:
            return out
        # Feast unpickles the code of on-demand views whatever is asked for, and that code lives in the repository's modules.
        with quiet(), inside(Path(self._store.repo_path)):
            view = copy.copy(self._store.get_feature_view(one.view))
            if max_age_s is not None:
                limit = timedelta(seconds=max_age_s)
                view.ttl = min(view.ttl, limit) if view.ttl else limit
            try:
                job = self._store._get_provider().get_historical_features(
                    config=self._store.config,
                    feature_views=[view],
                    feature_refs=[f"{one.view}:{column}" for column in columns],
                    entity_df=entities,
                    registry=self._store.registry,
                    project=self._store.project,
                    full_feature_names=True,
                )
                frame = job.to_df()
            except Exception as error:
                raise InvalidInput(
                    f"Feast cannot join {one.view}: {type(error).__name__}: {error}", field=f"sets.{one.name}"
                ) from None
        places = frame[_ROW].tolist()
        for column in columns:
            for place, value in zip(places, frame[f"{one.view}__{column}"].tolist(), strict=True):
                for row in rows_of[int(place)]:
                    out[column][row] = plain(value)
        return out

    def _entities(self, one: FeatureSet) -> tuple[pd.DataFrame, list[list[int]]]:
        """Distinct (key, time) pairs as Feast takes them (it would merge equal ones), and the rows that each stands for."""
        keys = self._layout.views[one.view].keys
        columns = [[plain(value) for value in self._column(one.keys[name], f"sets.{one.name}.keys")] for name in keys]
        rows_of: dict[tuple[Any, ...], list[int]] = {}
        for row, (time, *key) in enumerate(zip(self.times.tolist(), *columns, strict=True)):
            if None not in key:
                rows_of.setdefault((time, *key), []).append(row)
        distinct = list(rows_of)
        EntityKeyCodec(keys, self._layout.key_serialization, one.view).encode([tuple(key) for _, *key in distinct])
        found: dict[str, Any] = {name: [key[place] for key in distinct] for place, name in enumerate(keys, start=1)}
        found[_ROW] = list(range(len(distinct)))
        found[_TIME] = pd.to_datetime(pd.Series([key[0] for key in distinct], dtype="datetime64[ns, UTC]"), utc=True)
        return pd.DataFrame(found), list(rows_of.values())

    def _column(self, name: str, field: str) -> list[Any]:
        values = self._given.get(name)
        if values is None:
            raise InvalidInput(f"the rows have no column {name!r}, and the record does not hold it", field=field)
        return values

    def _fill(self, column: str, values: list[Any]) -> None:
        given = self._given.get(column)
        if given is not None:
            values = [value if plain(own) is None else own for own, value in zip(given, values, strict=True)]
        self._given[column] = values

    def _requested(self, feature: Feature) -> list[Any]:
        return [plain(value) for value in self._column(feature.column, feature.name)]


def _max_age(feature: Feature, one: FeatureSet) -> float | None:
    return feature.max_age_s if feature.max_age_s is not None else one.max_age_s


def plain(value: Any) -> Any:
    """A data frame's value as Python's: None for NaN and NaT, whole floats as integers, seconds for times."""
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, pd.Timestamp):
        return (value if value.tzinfo else value.tz_localize("UTC")).timestamp()
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float):
        if value != value:
            return None
        # An integer column with gaps is one of floats to pandas.
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value

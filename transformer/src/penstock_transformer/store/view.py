"""A feature view of an opened store: everything about it that a read or a write needs, worked out once.

    StoreLayout -> open_views -> View (key codec, value types) -> reading(features) -> Reading.columns(rows) -> SetColumns

A `Reading` fixes the order in which a store is asked for values: features of one type side by side, so that each type is decoded
as one block. Stores differ in how they fetch rows of bytes; what the bytes mean is decided here, once for all of them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.spec import StoreLayout, ViewLayout
from penstock_transformer.store.column_reading import Stored, read_block
from penstock_transformer.store.entity_keys import EntityKeyCodec
from penstock_transformer.store.port import RowWrite, SetColumns
from penstock_transformer.store.value_types import ValueType, value_type
from penstock_transformer.store.value_writing import json_text, write_value

# Distinct feature lists a view is read with: one per bundle and caller; more than this is a leak.
_READINGS = 64
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800


class Reading:
    """One list of features of a view, in the order in which a store is to fetch them (`names`)."""

    __slots__ = ("_asked", "_blocks", "names", "prepared", "view")

    def __init__(self, view: "View", features: tuple[str, ...]) -> None:
        self.view = view
        self._asked = features
        by_type: dict[str, list[str]] = {}
        for name in dict.fromkeys(features):
            by_type.setdefault(view.type_of(name).name, []).append(name)
        self.names = tuple(name for names in by_type.values() for name in names)
        self._blocks: list[tuple[int, tuple[str, ...], ValueType]] = []
        start = 0
        for type_name, names in by_type.items():
            self._blocks.append((start, tuple(names), value_type(type_name, view.name)))
            start += len(names)
        # What a store derives from the names (field hashes, SQL), kept with them.
        self.prepared: Any = None

    def columns(self, rows: Sequence[Sequence[Stored]], event_times: npt.NDArray[np.float64]) -> SetColumns:
        """`rows`: one sequence of stored bytes per key, in the order of `names`; what lies behind them is ignored."""
        found: dict[str, Column] = {}
        for start, names, kind in self._blocks:
            if not len(rows):
                for name in names:
                    found[name] = Column(np.empty(0, kind.dtype), np.empty(0, np.bool_))
                continue
            values, missing = read_block(rows, start, names, kind, self.view.name)
            for place, name in enumerate(names):
                found[name] = Column(values[place], missing[place])
        if self._asked != self.names:
            found = {name: found[name] for name in self._asked}
        return SetColumns(found, event_times)


class View:
    """One view of the layout: its key codec and its value types."""

    __slots__ = ("_readings", "_types", "codec", "key_names", "name")

    def __init__(self, name: str, layout: ViewLayout, version: int) -> None:
        self.name = name
        self.key_names = tuple(layout.keys)
        self.codec = EntityKeyCodec(layout.keys, version, name)
        self._types = {feature: value_type(kind, f"{name}.{feature}") for feature, kind in layout.values.items()}
        self._readings: dict[tuple[str, ...], Reading] = {}

    @property
    def features(self) -> tuple[str, ...]:
        """All value columns of the view."""
        return tuple(self._types)

    def type_of(self, feature: str) -> ValueType:
        """A value column's type. Raises InvalidInput for one that the view lacks."""
        found = self._types.get(feature)
        if found is None:
            raise InvalidInput(f"view {self.name!r} has no feature {feature!r}; it has {', '.join(self._types)}", field=feature)
        return found

    def reading(self, features: tuple[str, ...]) -> Reading:
        """The reading of these features, made once."""
        found = self._readings.get(features)
        if found is None:
            if len(self._readings) >= _READINGS:
                self._readings.clear()
            found = self._readings[features] = Reading(self, features)
        return found

    def values(self, row: RowWrite) -> dict[str, bytes]:
        """A row's values as they are stored. Raises InvalidInput naming the feature that is wrong."""
        out = {}
        for name, value in row.values.items():
            kind = self.type_of(name)
            if kind.name == "json" and value is not None:
                value = json_text(value)
            out[name] = write_value(value, kind, name)
        return out


class Views:
    """The views of one layout, by name."""

    __slots__ = ("_views", "project")

    def __init__(self, layout: StoreLayout) -> None:
        self.project = layout.project
        self._views = {name: View(name, view, layout.key_serialization) for name, view in layout.views.items()}

    def __getitem__(self, name: str) -> View:
        found = self._views.get(name)
        if found is None:
            raise InvalidInput(
                f"view {name!r} is not in the store layout; it has {', '.join(sorted(self._views)) or 'none'}", field=name
            )
        return found

    def __iter__(self) -> Any:
        return iter(self._views.values())


def event_time_of(row: RowWrite) -> float:
    """The row's event time. Raises InvalidInput if it is not a number of seconds between the years 1 and 9999."""
    time = row.event_time
    if not isinstance(time, int | float) or isinstance(time, bool) or not _YEAR_1 <= time < _YEAR_10000:
        raise InvalidInput(f"expected seconds since the epoch, got {time!r}", field="event_time")
    return float(time)

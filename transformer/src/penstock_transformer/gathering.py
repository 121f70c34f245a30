"""Gathering: from callers' rows to every raw value that a bundle needs, as a state machine without I/O.

    RowSource --first()--> reads --(store)--> second(answers) --> reads --(store)--> finish(answers) -> Gathered

One read is enough when the rows hold all keys themselves. Where the record's set holds the other sets' keys or request features
(`GET /predict/{id}` always), its values come first and the rest in a second read. A value that the row brings wins over the
record's. Whoever drives this may join the reads of several bundles into one round trip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.columns import FEATURE_DTYPES, Column
from penstock.errors import InvalidInput
from penstock.features.spec import Feature
from penstock.features.values import column_of
from penstock_transformer.keys import EntityKeys, entity_keys
from penstock_transformer.plan import FetchPlan, SetPlan
from penstock_transformer.row_source import RowSource
from penstock_transformer.store.port import SetColumns, SetRead

_OBJECT = np.dtype(object)


@dataclass(slots=True)
class Gathered:
    """`requested`: a column per feature of the request; `stored`: what each set answered, spread over the rows; `found`: bool
    `[rows]`, whether the record exists (None unless it was asked for); `record_keys`: the record's key a row, with
    `whole_record`."""

    requested: dict[str, Column]
    stored: dict[str, SetColumns]
    found: npt.NDArray[np.bool_] | None
    record_keys: list[tuple[Any, ...]] | None = None

    def kept(self, keep: npt.NDArray[np.bool_]) -> "Gathered":
        """Only the rows where `keep` is True."""
        stored = {}
        for name, one in self.stored.items():
            columns = {n: Column(c.values[keep], c.missing[keep]) for n, c in one.columns.items()}
            stored[name] = SetColumns(columns, one.event_times[keep])
        keys = [k for k, stays in zip(self.record_keys, keep.tolist(), strict=True) if stays] if self.record_keys else None
        requested = {n: Column(c.values[keep], c.missing[keep]) for n, c in self.requested.items()}
        return Gathered(requested, stored, None if self.found is None else self.found[keep], keys)


class Gathering:
    """One bundle's rows on their way to columns. `whole_record`: read all that the record's set stores, not only what is used.
    `now_s`, seconds since the epoch: a record that is older than its set's `maxAge` then fills nothing in.

    Raises InvalidInput, field `rows[i].name` counted over all rows here, from the constructor and from `second`.
    """

    __slots__ = ("_keys", "_lists", "_now_s", "_pending", "_plan", "_record_first", "_requested", "_source", "_stored", "_whole")

    def __init__(self, plan: FetchPlan, source: RowSource, now_s: float, *, whole_record: bool = False) -> None:
        self._plan = plan
        self._source = source
        self._now_s = now_s
        self._whole = whole_record
        self._requested = {f.name: source.column(f) for f in plan.requested}
        self._lists: dict[str, list[Any]] = {}
        self._keys: dict[str, EntityKeys] = {}
        self._stored: dict[str, SetColumns] = {}
        self._record_first = plan.record is not None and (whole_record or self._lacks_something())
        self._pending: tuple[SetPlan, ...] = ()

    def first(self) -> list[SetRead]:
        """The first read: everything, or the record alone if other keys may come from it."""
        plan = self._plan
        self._pending = (plan.record,) if self._record_first and plan.record else plan.sets
        return self._reads()

    def second(self, answers: Sequence[SetColumns]) -> list[SetRead]:
        """The second read, empty if the first was enough. `answers` are those of `first`, in order."""
        self._take(answers)
        self._pending = ()
        if self._record_first:
            self._fill_from_record()
            self._pending = self._plan.others
        return self._reads()

    def finish(self, answers: Sequence[SetColumns]) -> Gathered:
        """All raw values. `answers` are those of `second`."""
        self._take(answers)
        record = self._plan.record
        found = ~np.isnan(self._stored[record.name].event_times) if record and self._record_first else None
        keys = list(zip(*(self._values(c) for c in record.key_columns), strict=True)) if record and self._whole else None
        return Gathered(self._requested, self._stored, found, keys)

    def without_store(self) -> Gathered:
        """All raw values when the store cannot be read: every stored one is missing."""
        rows = self._source.count
        times, gone = np.full(rows, np.nan), np.ones(rows, np.bool_)
        stored = {}
        for one in self._plan.sets:
            columns = {f.column: column_of([None] * rows, f.type, f.name, length=f.length) for f in one.features}
            stored[one.name] = SetColumns({name: Column(c.values, gone) for name, c in columns.items()}, times)
        return Gathered(self._requested, stored, None)

    def unknown_record(self, feature: Feature, row: int) -> InvalidInput | None:
        """The error of a row that lacks this feature because there is no record of the key that it gave; None if that is not
        why."""
        record = self._plan.record
        if record is None or record.name not in self._stored or not np.isnan(self._stored[record.name].event_times[row]):
            return None
        key = [self._values(column)[row] for column in record.key_columns]
        if None in key or not self._rests_on_record(feature, row):
            return None
        shown = ", ".join(repr(part)[:200] for part in key)
        return InvalidInput(f"there is no record {shown}", field=f"rows[{row}].{record.key_columns[0]}")

    def _rests_on_record(self, feature: Feature, row: int) -> bool:
        """Whether the record would have brought a missing feature, or the key that it is read by."""
        plan = self._plan
        if feature.set is None:
            return feature.column in plan.fills
        if plan.record is not None and feature.set == plan.record.name:
            return True
        keys = next(s.key_columns for s in plan.sets if s.name == feature.set)
        return any(column in plan.fills and self._values(column)[row] is None for column in keys)

    @property
    def needs_record(self) -> bool:
        """Whether request features or keys come from a record that a row names, so that nothing can be said without the store."""
        record = self._plan.record
        if record is None or not self._record_first:
            return False
        return any(None not in key for key in zip(*map(self._values, record.key_columns), strict=True))

    def _lacks_something(self) -> bool:
        fills = self._plan.fills
        requested = {f.column: f for f in self._plan.requested}
        for name in fills:
            feature = requested.get(name)
            if feature is not None and self._requested[feature.name].missing.any():
                return True
            if feature is None and None in self._values(name):
                return True
        return False

    def _values(self, name: str) -> list[Any]:
        values = self._lists.get(name)
        if values is None:
            values = self._lists[name] = self._source.values(name)
        return values

    def _reads(self) -> list[SetRead]:
        reads = []
        for one in self._pending:
            keys = entity_keys([self._values(c) for c in one.key_columns], one.key_columns, one.key_types)
            self._keys[one.name] = keys
            reads.append(SetRead(one.view, keys.distinct, self._columns_of(one)))
        return reads

    def _columns_of(self, one: SetPlan) -> tuple[str, ...]:
        if not self._record_first or one is not self._plan.record:
            return one.columns
        if self._whole:
            return tuple(self._plan.record_columns)
        return tuple(dict.fromkeys((*one.columns, *self._plan.fills)))

    def _take(self, answers: Sequence[SetColumns]) -> None:
        for one, answer in zip(self._pending, answers, strict=True):
            self._stored[one.name] = self._keys[one.name].spread(answer, one.stored_types)

    def _fill_from_record(self) -> None:
        record = self._plan.record
        assert record is not None
        stored = self._stored[record.name]
        columns = stored.columns
        if record.max_age_s is not None:
            too_old = self._now_s - stored.event_times > record.max_age_s
            columns = {name: column.without(too_old) for name, column in columns.items()}
        requested = {f.column: f for f in self._plan.requested}
        for name in self._plan.fills:
            column = columns[name]
            feature = requested.get(name)
            if feature is not None:
                self._requested[feature.name] = filled(self._requested[feature.name], as_feature(column, feature))
            own = self._values(name)
            self._lists[name] = [s if v is None else v for v, s in zip(own, column.to_list(), strict=True)]


def as_feature(column: Column, feature: Feature) -> Column:
    """A stored column as one of the feature's own type. Raises InvalidInput for a value that does not fit it."""
    with np.errstate(over="raise"):
        return converted(column, feature)


def converted(column: Column, feature: Feature) -> Column:
    """`as_feature` for whoever converts many columns, and has told numpy once to raise where a number is too large."""
    expected = FEATURE_DTYPES.get(feature.type, _OBJECT)
    given = column.values.dtype
    if given == expected:
        return column
    if expected.kind == "f" and given.kind in "fib":
        try:
            values = column.values.astype(expected)
        except FloatingPointError:
            # Walked value by value, to name the row.
            return column_of(column.to_list(), feature.type, feature.name, length=feature.length)
        if given.kind != "f" and column.missing.any():
            values[column.missing] = np.nan
        return Column(values, column.missing)
    return column_of(column.to_list(), feature.type, feature.name, length=feature.length)


def filled(column: Column, other: Column) -> Column:
    """`column` with `other`'s values where its own are missing."""
    if not column.missing.any():
        return column
    return Column(np.where(column.missing, other.values, column.values), column.missing & other.missing)

"""A feature store that answers from a log: what was fetched for one request then, and nothing else.

LoggedRow.fetched --ReplayStore--> SetColumns, as the store gave them

Invariant: values come out as the store's own type and bits; a column that was not logged is an error that names it, never a value
that is missing.
"""

import math
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import numpy as np

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.spec import StoreLayout
from penstock.features.values import column_of
from penstock_transformer.feedback.document import Fetched
from penstock_transformer.store.port import SetColumns, SetRead

_FEATURE_TYPES = {"float": "float32", "double": "float64", "unix_timestamp": "timestamp", "bytes": "image"}
_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}


class ReplayStore:
    """What the rows of one request fetched, by view and key."""

    def __init__(self, layout: StoreLayout, rows: Sequence[dict[str, Fetched]]) -> None:
        self._layout = layout
        self._views: dict[str, set[str]] = {}
        self._found: dict[tuple[str, tuple[Any, ...]], tuple[float | None, dict[str, Any]]] = {}
        for fetched in rows:
            for one in fetched.values():
                self._views.setdefault(one.view, set()).update(one.values)
                if one.key is not None:
                    _, known = self._found.get((one.view, tuple(one.key)), (None, {}))
                    self._found[one.view, tuple(one.key)] = (one.time, known | one.values)

    def read(self, reads: Sequence[SetRead]) -> list[SetColumns]:
        """The answers. Raises InvalidInput, field `view.column`, for what was not logged."""
        return [self._answer(read) for read in reads]

    def _answer(self, read: SetRead) -> SetColumns:
        known = self._views.get(read.view, set())
        for name in read.features:
            if name not in known:
                raise InvalidInput("is not in the log: the bundle that was logged did not read it", field=f"{read.view}.{name}")
        found = []
        for key in read.keys:
            entry = self._found.get((read.view, key))
            if entry is None:
                raise InvalidInput(f"the log has nothing of the key {key!r:.80}", field=read.view)
            found.append(entry)
        types = self._layout.views[read.view].values
        columns = {name: _column([values.get(name) for _, values in found], types[name], name) for name in read.features}
        return SetColumns(columns, np.array([math.nan if time is None else time for time, _ in found], np.float64))


def _column(values: list[Any], stored: str, name: str) -> Column:
    return column_of([value_of(value, stored) for value in values], _feature_type(stored), name)


def value_of(value: Any, kind: str) -> Any:
    """A logged value as the type has it: bytes from base64, infinities from their names."""
    if isinstance(value, list):
        inner = kind.partition("<")[2].rstrip(">")
        return [value_of(one, inner) for one in value]
    if isinstance(value, str):
        if kind == "bytes":
            return b64decode(value)
        if kind in ("float", "double", "float32", "float64"):
            return _INFINITIES.get(value, value)
    return value


def _feature_type(stored: str) -> str:
    for outer in ("list<", "set<"):
        if stored.startswith(outer):
            return f"list<{_feature_type(stored[len(outer) : -1])}>"
    return _FEATURE_TYPES.get(stored, stored)

"""A feature store in memory: for tests, of Penstock's own and of users' bundles, and nothing else.

It keeps the port's rules: typed columns as the layout says, compare-and-set on event time. `away` True makes every read fail as
an unreachable store does.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from penstock.columns import Column
from penstock.errors import UpstreamUnavailable
from penstock.features.spec import StoreLayout
from penstock.features.values import column_of
from penstock_transformer.store.port import RowWrite, SetColumns, SetRead

_FEATURE_TYPES = {"float": "float32", "double": "float64", "unix_timestamp": "timestamp", "bytes": "image"}


class MemoryStore:
    """Implements `FeatureStore`. `reads` holds every read made, for tests to look at."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout
        self._rows: dict[str, dict[tuple[Any, ...], RowWrite]] = {name: {} for name in layout.views}
        self.reads: list[list[SetRead]] = []
        self.away = False
        self.closed = False

    async def start(self) -> None:
        self._check()

    async def read(self, reads: Sequence[SetRead]) -> list[SetColumns]:
        self._check()
        self.reads.append(list(reads))
        return [self._answer(read) for read in reads]

    async def write(self, rows: Sequence[RowWrite]) -> list[bool]:
        self._check()
        return [self._put(row) for row in rows]

    async def delete(self, view: str, keys: Sequence[tuple[Any, ...]]) -> int:
        self._check()
        return sum(self._rows[view].pop(key, None) is not None for key in keys)

    async def scan(self, view: str, cursor: str | None, limit: int) -> tuple[list[tuple[Any, ...]], str | None]:
        self._check()
        start = int(cursor or 0)
        keys = list(self._rows[view])
        return keys[start : start + limit], str(start + limit) if start + limit < len(keys) else None

    async def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.away:
            raise UpstreamUnavailable("the feature store cannot be reached")

    def _put(self, row: RowWrite) -> bool:
        known = self._rows[row.view].get(row.key)
        if known is not None and known.event_time >= row.event_time:
            return False
        self._rows[row.view][row.key] = row
        return True

    def _answer(self, read: SetRead) -> SetColumns:
        found = [self._rows[read.view].get(key) for key in read.keys]
        columns: dict[str, Column] = {}
        for name in read.features:
            values = [None if row is None else row.values.get(name) for row in found]
            columns[name] = column_of(values, _feature_type(self._layout.views[read.view].values[name]), name)
        times = [float("nan") if row is None else row.event_time for row in found]
        return SetColumns(columns, np.array(times, np.float64))


def _feature_type(stored: str) -> str:
    if stored.startswith("list<"):
        return f"list<{_feature_type(stored[5:-1])}>"
    return _FEATURE_TYPES.get(stored, stored)

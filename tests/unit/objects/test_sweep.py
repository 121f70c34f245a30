"""The sweep's choice: property over ages and rows."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock_transformer.predictions.object_names import Kind, name_of
from penstock_transformer.predictions.objects import Kept
from penstock_transformer.predictions.sweep import ORPHAN_S, sweep

AGES = st.sampled_from([-10.0, 0.0, ORPHAN_S - 1, ORPHAN_S, ORPHAN_S + 1, 9_999.0, 10_001.0])
ENTRIES = st.lists(st.tuples(st.sampled_from(Kind), st.sampled_from(["a", "b", "c", "x" * 300]), AGES), max_size=12)


class Listed:
    def __init__(self, kept: Sequence[Kept]) -> None:
        self._kept = kept
        self.removed: list[str] = []

    async def kept(self) -> AsyncIterator[list[Kept]]:
        for start in range(0, len(self._kept), 5):
            yield list(self._kept[start : start + 5])

    async def remove(self, keys: Sequence[str]) -> None:
        self.removed += keys


@given(ENTRIES, st.sets(st.sampled_from(["a", "b", "c"])))
def test_only_old_ones_without_a_row_are_deleted(entries: list[tuple[Kind, str, float]], rows: set[str]) -> None:
    kept = [Kept(name_of(who, kind, b"%d" % place, place), age) for place, (kind, who, age) in enumerate(entries)]
    store: Any = Listed(kept)

    async def existing(ids: Sequence[str]) -> set[str]:
        return rows & set(ids)

    deleted = asyncio.run(sweep(store, existing, result_s=10_000.0))
    expected = [
        one.name.key
        for one, (kind, who, age) in zip(kept, entries, strict=True)
        if who not in rows and age > (ORPHAN_S if kind is Kind.INPUT else 10_000.0)
    ]
    assert store.removed == expected
    assert deleted == len(expected)

"""What waits to be counted is bounded, features as well as outputs; nothing of it is lost when it is counted early."""

import asyncio
from types import SimpleNamespace
from typing import cast

import numpy as np

from penstock.columns import Column
from penstock.evidence.document import Bins
from penstock.postprocess import Judged
from penstock_transformer.evidence.backlog import MOST, MOST_ELEMENTS, MOST_ROWS, Backlog
from penstock_transformer.evidence.histograms import Counter
from penstock_transformer.evidence.sums import Sums


class Counted:
    """Stands for sums: as much of them as features and outputs are counted in."""

    def __init__(self, columns: int) -> None:
        self.outputs = {"value": Counter(Bins(edges=(0.0, 1.0)), None)}
        self.postprocessor = SimpleNamespace(source="score", judge=lambda given: Judged({"value": given["score"][:, 0]}))
        self.features = {f"f{number}": Counter(Bins(edges=(0.0, 1.0)), None) for number in range(columns)}

    @property
    def rows(self) -> int:
        return int(self.features["f0"].counts.sum())


def after(batches: int, rows: int, columns: int) -> tuple[int, int]:
    """Rows that are counted once so many batches have come, and once they were read."""
    sums = Counted(columns)

    async def come() -> int:
        backlog = Backlog()
        for _ in range(batches):
            values = Column(np.zeros(rows), np.zeros(rows, np.bool_))
            backlog.features(cast(Sums, sums), dict.fromkeys(sums.features, values))
        early = sums.rows
        backlog.flush()
        return early

    return asyncio.run(come()), sums.rows


def test_few_features_wait_until_they_are_read() -> None:
    assert after(3, 2, 4) == (0, 6)


def test_many_batches_of_features_are_counted_at_once() -> None:
    assert after(MOST + 1, 1, 1) == (MOST, MOST + 1)


def test_features_wait_on_while_outputs_are_counted() -> None:
    sums = Counted(1)
    rows, rounds = 32, 9
    assert MOST * rows * rounds > MOST_ELEMENTS

    async def come() -> int:
        backlog = Backlog()
        backlog.features(cast(Sums, sums), {"f0": Column(np.zeros(2), np.zeros(2, np.bool_))})
        for _ in range(MOST * rounds):
            backlog.outputs(cast(Sums, sums), {"score": np.zeros((rows, 1), np.float32)})
        early = sums.rows
        backlog.flush()
        return early

    assert asyncio.run(come()) == 0
    assert sums.rows == 2
    assert int(sums.outputs["value"].counts.sum()) == MOST * rows * rounds


def test_many_values_are_counted_at_once() -> None:
    columns = MOST_ELEMENTS // (4 * MOST_ROWS)
    assert after(5, MOST_ROWS, columns) == (4 * MOST_ROWS, 5 * MOST_ROWS)

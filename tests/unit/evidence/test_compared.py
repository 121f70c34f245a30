"""What pairs keep of their batches: no more than is compared, within bounds of bytes and numbers, however slow a shadow is."""

import asyncio
import weakref
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from penstock.dataplane import Context
from penstock.evidence.document import Paired
from penstock.postprocess import Judged, Postprocessor
from penstock.tensors import Array
from penstock_transformer.evidence.backlog import MOST, MOST_ELEMENTS, Backlog
from penstock_transformer.evidence.keys import KeyWindow
from penstock_transformer.evidence.pairs import Pair
from penstock_transformer.evidence.sums import Sums
from penstock_transformer.requests import PredictRequest
from penstock_transformer.work import PredictWork


def judge(given: dict[str, Array]) -> Judged:
    """The first score of each row."""
    return Judged({"scores.late": given["score"][:, 0]})


class Side:
    """A live bundle and its shadow, of which either side of a pair can come."""

    def __init__(self, judge: Any = judge) -> None:
        backlog, window = Backlog(), KeyWindow()
        postprocessor = cast(Postprocessor, SimpleNamespace(source="score", judge=judge))
        self.live, self.shadow = (
            Sums((name, 1, name == "shadow", ""), "1", postprocessor, backlog, window, outputs={}, features={}, spreads={})
            for name in ("live", "shadow")
        )
        self.backlog = backlog

    def pairs(self, many: int) -> list[Pair]:
        assert self.shadow.paired is not None
        return [Pair(self.shadow.paired) for _ in range(many)]

    def answer(self, sums: Sums, pairs: list[Pair], rows: int, outputs: dict[str, Array]) -> None:
        """A batch of so many requests, of so many rows each."""
        works = [PredictWork(PredictRequest("flights", Context("r"), rows=[{}] * rows), cast(Any, None)) for _ in pairs]
        for work, pair in zip(works, pairs, strict=True):
            work.waiting, work.pairs = False, [pair]
        sums.answered(works, range(0, rows * len(pairs) + 1, rows), (1.0, 0.1, 0.1), outputs, None)

    def told(self) -> Paired:
        """As of now; what waits is not counted."""
        assert self.shadow.paired is not None
        return self.shadow.paired.told()


def test_a_pair_keeps_its_rows_and_neither_the_batch_nor_other_outputs() -> None:
    side = Side()
    (pair,) = side.pairs(1)
    whole = np.arange(8.0).reshape(4, 2)
    batch, other = weakref.ref(whole), np.zeros((2, 1000))
    rest = weakref.ref(other)
    # Parts of something larger, as tensors of one body are.
    side.answer(side.live, [pair], 2, {"score": whole[1:3], "other": other})
    del whole, other
    assert batch() is None
    assert rest() is None

    async def come() -> None:
        side.answer(side.shadow, [pair], 2, {"score": np.array([[2.0, 0.0], [4.5, 0.0]])})
        side.backlog.flush()

    asyncio.run(come())
    assert [(number, count) for number, count in side.told().score_differences] == [(31, 1)]


def test_a_pair_that_is_compared_by_nothing_keeps_nothing() -> None:
    side = Side(judge=lambda _: Judged())
    pairs = side.pairs(2)
    array = np.zeros((2, 1000))
    kept = weakref.ref(array)
    side.answer(side.live, pairs, 1, {"score": array})
    del array
    assert kept() is None

    async def come() -> None:
        side.answer(side.shadow, pairs, 1, {"score": np.zeros((2, 1000))})
        side.backlog.flush()

    asyncio.run(come())
    told = side.told()
    assert (told.requests, told.agreeing, told.score_differences, len(told.latency_ratios)) == (2, 0, [], 1)


def test_answers_that_wait_for_a_slow_shadow_are_bounded_in_bytes() -> None:
    side = Side()
    pairs, kept = side.pairs(256), []
    for pair in pairs:
        array = np.empty((1, 1_000_000), np.float32)
        kept.append(weakref.ref(array))
        side.answer(side.live, [pair], 1, {"score": array})
    del array
    waiting = sum(each() is not None for each in kept)
    assert 1 <= waiting <= 8
    # Copies that never get their turn give the room back, too.
    pairs.clear()
    del pair
    array = np.empty((1, 1_000_000), np.float32)
    (pair,) = side.pairs(1)
    side.answer(side.live, [pair], 1, {"score": array})
    assert pair.answer is not None
    assert side.backlog.room.nbytes == array.nbytes


@pytest.mark.parametrize(("width", "waits"), [(2, True), (1000, True), (20 * MOST_ELEMENTS, False)])
def test_pairs_of_very_many_numbers_are_compared_at_once(width: int, waits: bool) -> None:
    side = Side()

    async def come() -> int:
        for _ in range(MOST - 1):
            (pair,) = side.pairs(1)
            for sums in (side.live, side.shadow):
                side.answer(sums, [pair], 1, {"score": np.broadcast_to(np.zeros(1, np.float32), (1, width))})
        early = side.told().requests
        side.backlog.flush()
        return early

    assert asyncio.run(come()) == (0 if waits else MOST - 1)
    assert side.told().score_differences == [(0, MOST - 1)]
    assert side.backlog.room.nbytes == 0

"""What is counted off the path of a request: outputs, features and pairs of many batches together, in a few passes of numpy.

    Sums --outputs | features | pair--> Backlog --when read, when it is full, after 10 s--> histograms, compared pairs

One array of one row costs numpy as much as one of a hundred. So batches leave references here, and are counted together.
Invariant: what waits is bounded, in batches, pairs and elements; nothing in here ever raises into a request. Halves of pairs that
wait for the other one are not here yet: what they hold is bounded by `room`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from penstock.columns import Column
from penstock.postprocess import Judged
from penstock.tensors import Array
from penstock_transformer.evidence.compared import FAULTS, Room
from penstock_transformer.evidence.histograms import compare_judged, count_judged
from penstock_transformer.evidence.pairs import Half, Pair, comparable

if TYPE_CHECKING:
    from penstock_transformer.evidence.sums import Sums

logger = logging.getLogger(__name__)

DELAY_S: Final = 10.0
"""What is read is counted first, whenever it is read: this only lets go of what waits. With few requests most of what counting
costs is a flush's, which the fewer share the more often it comes."""
MOST: Final = 128
"""Batches, and pairs, that wait; with more they are counted at once, which takes about a millisecond."""
MOST_ELEMENTS: Final = 32_768
"""Numbers that wait. A batch with outputs of more than an eighth of them is counted by every so-manieth row."""
MOST_PAIR_ELEMENTS: Final = 8 * MOST_ELEMENTS
"""Numbers that wait in pairs: a thousand scores of `MOST` pairs. A score costs numpy as much of one pair as of all: those of many
scores are the ones that must wait for each other."""
MOST_ROWS: Final = 256
"""Rows of a batch whose features are counted."""

_Watched = Sequence[tuple[int, int]]
"""Rows of watched keys, with their marks (`penstock.evidence.callers`)."""
_Rows = tuple[Array, list[int] | None, _Watched]
"""A batch's outputs, and which of their rows are first of their keys (None: all), and which of these are watched."""


class Backlog:
    """One process's, on the event loop's thread. `room`: what halves of pairs hold."""

    __slots__ = ("_elements", "_features", "_outputs", "_pair_elements", "_pairs", "_timer", "_told", "room")

    def __init__(self) -> None:
        self._outputs: dict[Sums, list[_Rows]] = {}
        self._features: list[tuple[Sums, dict[str, Column]]] = []
        self._pairs: list[Pair] = []
        self._elements = 0
        self._pair_elements = 0
        self.room = Room()
        self._timer: asyncio.TimerHandle | None = None
        self._told = False

    def outputs(self, sums: "Sums", outputs: dict[str, Array], first: list[int] | None = None, watched: _Watched = ()) -> None:
        """Count a batch's outputs soon, and once more the rows that are `first` of their keys; None: all of them. `watched`: rows
        that are compared with what their keys got before."""
        array = outputs.get(sums.postprocessor.source)
        if array is None or not array.ndim:
            return
        if array.size > MOST_ELEMENTS // 8:
            # A sample of keys may do without those of the largest batches.
            array, first, watched = (*_thinned(array, -(-array.size * 8 // MOST_ELEMENTS), first), ())
        waiting = self._outputs.get(sums)
        if waiting is None:
            waiting = self._outputs[sums] = []
        waiting.append((array, first, watched))
        self._elements += array.size
        if self._elements >= MOST_ELEMENTS:
            self.flush()
            return
        if len(waiting) >= MOST:
            # Features wait on: twenty columns cost as much for a few batches as for many, and these are one in FEATURES_EVERY.
            del self._outputs[sums]
            self._elements -= sum([array.size for array, _, _ in waiting])
            self._try(_count_outputs, sums, waiting)
        if self._timer is None:
            self._arm()

    def features(self, sums: "Sums", columns: dict[str, Column]) -> None:
        """Count a batch's features soon."""
        rows = len(next(iter(columns.values())).values) if columns else 0
        if rows > MOST_ROWS:
            step = -(-rows // MOST_ROWS)
            columns = {name: Column(c.values[::step].copy(), c.missing[::step].copy()) for name, c in columns.items()}
        self._features.append((sums, columns))
        self._elements += min(rows, MOST_ROWS) * len(columns)
        if len(self._features) >= MOST or self._elements >= MOST_ELEMENTS:
            self.flush()
        else:
            self._arm()

    def pair(self, pair: Pair) -> None:
        """Compare the halves of a pair soon."""
        self._pairs.append(pair)
        for half in (pair.answer, pair.shadow):
            if half is not None and half.outputs is not None:
                self._pair_elements += half.outputs.size
        if len(self._pairs) >= MOST:
            self.flush()
        elif self._pair_elements >= MOST_PAIR_ELEMENTS:
            self._flush_pairs()
        else:
            self._arm()

    def flush(self) -> None:
        """Count all that waits. Never raises."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        outputs, self._outputs = self._outputs, {}
        features, self._features = self._features, []
        self._elements = 0
        for sums, arrays in outputs.items():
            self._try(_count_outputs, sums, arrays)
        for sums, columns in _joined(features):
            self._try(_count_features, sums, columns)
        self._flush_pairs()

    def _flush_pairs(self) -> None:
        pairs, self._pairs = self._pairs, []
        self._pair_elements = 0
        for alike in _alike(pairs):
            self._try(_count_pairs, alike)

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY_S, self.flush)

    def _try(self, count: Callable[..., None], *given: Any) -> None:
        """A model that breaks its word costs its own evidence, and one line of the log."""
        try:
            count(*given)
        except FAULTS as fault:
            if not self._told:
                self._told = True
                logger.warning("outputs are not counted", extra={"reason": str(fault)[:200]})


def _thinned(array: Array, step: int, first: list[int] | None) -> tuple[Array, list[int] | None]:
    """Every so-manieth row, and of those that are first of their keys all that remain."""
    if first is not None:
        kept = np.union1d(np.arange(0, len(array), step), first).astype(np.intp)
        return array[kept], np.searchsorted(kept, first).tolist()
    return array[::step].copy(), None


def _count_outputs(sums: "Sums", waiting: list[_Rows]) -> None:
    array = waiting[0][0] if len(waiting) == 1 else np.concatenate([array for array, _, _ in waiting])
    if len(array):
        judged = sums.postprocessor.judge({sums.postprocessor.source: array})
        count_judged(sums.outputs, judged, _first_rows(waiting, len(array)))
        watched = _watched_rows(waiting)
        if watched and sums.callers is not None:
            compare_judged(sums.outputs, judged, watched, sums.callers)


def _first_rows(waiting: list[_Rows], total: int) -> Array | None:
    """bool `[rows]`: which rows of the batches, one after the other, are first of their keys; None: all."""
    found: Array | None = None
    start = 0
    for array, first, _ in waiting:
        stop = start + len(array)
        if first is not None:
            if found is None:
                found = np.ones(total, np.bool_)
            found[start:stop] = False
            if first:
                found[[start + row for row in first]] = True
        start = stop
    return found


def _watched_rows(waiting: list[_Rows]) -> _Watched:
    """The watched rows of the batches, one after the other, as they came."""
    found, start = [], 0
    for array, _, watched in waiting:
        found += [(start + row, mark) for row, mark in watched]
        start += len(array)
    return found


def _joined(features: list[tuple["Sums", dict[str, Column]]]) -> Iterable[tuple["Sums", dict[str, list[Column]]]]:
    found: dict[Sums, dict[str, list[Column]]] = {}
    for sums, columns in features:
        mine = found.setdefault(sums, {})
        for name, column in columns.items():
            mine.setdefault(name, []).append(column)
    return found.items()


def _count_features(sums: "Sums", columns: dict[str, list[Column]]) -> None:
    for name, parts in columns.items():
        values = np.concatenate([part.values for part in parts])
        sums.features[name].column(Column(values, np.concatenate([part.missing for part in parts])))


def _alike(pairs: list[Pair]) -> Iterable[list[Pair]]:
    """Pairs of the same two bundles, those apart of which a half has nothing to compare."""
    found: dict[tuple[Any, Any, bool], list[Pair]] = {}
    for pair in pairs:
        if comparable(pair):
            assert pair.answer is not None
            assert pair.shadow is not None
            both = pair.answer.outputs is not None and pair.shadow.outputs is not None
            found.setdefault((pair.answer.sums, pair.shadow.sums, both), []).append(pair)
    return found.values()


def _count_pairs(pairs: Sequence[Pair]) -> None:
    first = pairs[0]
    assert first.answer is not None
    assert first.shadow is not None
    if first.answer.outputs is None or first.shadow.outputs is None:
        first.into.compare(pairs, Judged(), Judged(), {})
    else:
        first.into.compare(pairs, _judged(pairs, "answer"), _judged(pairs, "shadow"), first.answer.sums.spreads)


def _judged(pairs: Sequence[Pair], side: str) -> Judged:
    halves: list[Half] = [getattr(pair, side) for pair in pairs]
    postprocessor = halves[0].sums.postprocessor
    return postprocessor.judge({postprocessor.source: np.concatenate([half.outputs for half in halves])})

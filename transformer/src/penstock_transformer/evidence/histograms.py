"""Histograms of arrays in fixed bins: a batch of values in one pass of numpy.

    predictions, columns of features --> one Counter each, in the layout of `penstock.evidence.document.Bins` --> counts

Invariant: every value lands in exactly one bin, and what a counter costs and keeps does not grow with what it is given.
"""

from collections.abc import Sequence

import numpy as np

from penstock.columns import Column
from penstock.evidence.callers import CallerSums
from penstock.evidence.document import Bins, Histogram, Training
from penstock.evidence.profiles import name_value
from penstock.postprocess import Judged
from penstock.tensors import Array


class Counter:
    """The histogram of one output or feature, of all values and of those that are the `first` of their keys. `training` is what
    its bundle's profile has of it."""

    __slots__ = ("_codes", "_edges", "_places", "bins", "counts", "keys", "training")

    def __init__(self, bins: Bins, training: Training | None) -> None:
        self.bins = bins
        self.training = training
        self.counts = np.zeros(bins.size, np.int64)
        self.keys = np.zeros(bins.size, np.int64)
        self._edges = np.array(bins.edges, np.float64)
        self._places = {value: place for place, value in enumerate(bins.values)}
        self._codes: dict[tuple[str, ...], Array] = {}

    def numbers(self, values: Array, first: Array | None = None) -> None:
        """Count numbers; those that are NaN as missing. `first`, bool: which are the first of their keys; None: all."""
        if len(self._edges):
            self._count(self._numbered(values, None), first)

    def _numbered(self, values: Array, missing: Array | None) -> Array:
        """The places of numbers; those that are NaN, or marked in `missing`, are missing."""
        edges = self._edges
        values = values.astype(np.float64)
        places = np.searchsorted(edges, values, side="right")
        # The last edge itself has a bin; what is above it comes behind that.
        places[values > edges[-1]] = len(edges) + 1
        gone = np.isnan(values) if missing is None else np.isnan(values) | missing
        places[gone] = len(edges) + 2
        return places

    def _count(self, places: Array, first: Array | None) -> None:
        counts = np.bincount(places, minlength=len(self.counts))
        self.counts += counts
        self.keys += counts if first is None else np.bincount(places[first], minlength=len(self.counts))

    def codes(self, names: tuple[str, ...], codes: Array, first: Array | None = None) -> None:
        """Count texts given as places in `names`; -1 is missing. `first` as of `numbers`."""
        if self._places:
            self._count(self._table(names)[codes], first)

    def _table(self, names: tuple[str, ...]) -> Array:
        """The bin of each of these names; the last entry is where code -1 looks."""
        table = self._codes.get(names)
        if table is None:
            other = len(self._places)
            table = np.array([*(self._places.get(name, other) for name in names), other + 1])
            self._codes = {names: table}
        return table

    def bins_of_numbers(self, values: Array) -> list[int]:
        """The bin of each number; of none without edges."""
        return self._numbered(values, None).tolist() if len(self._edges) else []

    def bins_of_codes(self, names: tuple[str, ...], codes: Array) -> list[int]:
        """The bin of each text, given as of `codes`; of none without values."""
        return self._table(names)[codes].tolist() if self._places else []

    def column(self, column: Column) -> None:
        """Count a feature's raw values, whosever they are."""
        if self._edges.size:
            if column.values.dtype.kind in "fiub":
                self.counts += np.bincount(self._numbered(column.values, column.missing), minlength=len(self.counts))
            return
        other, places = len(self._places), self._places
        for value, gone in zip(column.values.tolist(), column.missing.tolist(), strict=True):
            self.counts[other + 1 if gone else places.get(name_value(value), other)] += 1

    def told(self) -> Histogram:
        """As the document has it."""
        return Histogram(self.bins, self.counts.tolist(), self.training, self.keys.tolist() if self.keys.any() else [])


def count_judged(counters: dict[str, Counter], judged: Judged, first: Array | None) -> None:
    """Count what a batch's predictions say, whatever of it has bins. `first`, bool `[rows]`: which are of requests that are the
    first of their keys; None: all."""
    for name, (names, codes) in judged.codes.items():
        if name in counters:
            counters[name].codes(names, codes, first)
    for name, values in judged.numbers.items():
        if name in counters:
            counters[name].numbers(values, first)


def compare_judged(counters: dict[str, Counter], judged: Judged, watched: Sequence[tuple[int, int]], callers: CallerSums) -> None:
    """Compare what was answered to watched keys with what they got before. `watched`: rows and marks, as they came."""
    rows = np.array([row for row, _ in watched], np.intp)
    marks = [mark for _, mark in watched]
    for name, (names, codes) in judged.codes.items():
        if name in counters and (bins := counters[name].bins_of_codes(names, codes[rows])):
            callers.answer(name, marks, bins)
    for name, values in judged.numbers.items():
        if name in counters and (bins := counters[name].bins_of_numbers(values[rows])):
            callers.answer(name, marks, bins)

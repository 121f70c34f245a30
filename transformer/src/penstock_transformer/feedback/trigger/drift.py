"""How far logged values are from those of training: total variation in the bins of the bundle's profile. Pure.

    (value, weight), … --Tally--> weighted counts --distance--> Distance(seen, established)

Two samples of one distribution differ, too. `established` is what the distance is at least, with the chance of being wrong given
by `alpha`: the distance that is seen, less what chance adds on average, less how far chance may go beyond its average.

- On average: E|p - q| of a bin is at most sqrt(p (1 - p) (1/n + 1/m)), the sum over k bins at most sqrt((k - 1) (1/n + 1/m))
  (Jensen, then Cauchy and Schwarz), so half of that.
- Beyond it: a row moves the distance by at most its share of the weight, so by McDiarmid's inequality (1989) it exceeds its
  average by t with a chance of at most exp(-2 t^2 / (1/n + 1/m)).

n is Kish's effective number of rows, (sum of w)^2 / sum of w^2: rows count by the inverse of the chance with which they were
logged, and their shares of the weight, squared and added, are 1/n.

Invariant: every value is in one bin; missing is a bin.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from penstock.evidence.document import Training
from penstock.evidence.profiles import closed, name_value


class Distance(NamedTuple):
    """`seen` between live values and training, and what it is at least (`established`); 0 to 1. `rows`: effective number."""

    seen: float
    established: float
    rows: float


class Tally:
    """One feature's or output's live values, in the bins of its training."""

    __slots__ = ("_places", "_squares", "_weight", "counts", "training")

    def __init__(self, training: Training) -> None:
        self.training = training
        self.counts = [0.0] * training.bins.size
        self._places = {value: place for place, value in enumerate(training.bins.values)}
        self._weight = self._squares = 0.0

    def add(self, value: Any, weight: float) -> None:
        """A value as the log has it; None is missing."""
        self.counts[self._place(value)] += weight
        self._weight += weight
        self._squares += weight * weight

    def _place(self, value: Any) -> int:
        edges, size = self.training.bins.edges, self.training.bins.size
        if not edges:
            return size - 1 if value is None else self._places.get(name_value(value), size - 2)
        number = _number(value)
        if math.isnan(number):
            return size - 1
        return size - 2 if number > edges[-1] else bisect_right(edges, number)

    def distance(self, alpha: float) -> Distance | None:
        """From training; None without a row on either side."""
        live, training = closed(self.counts, self.training.bins), closed(list(self.training.counts), self.training.bins)
        many = sum(training)
        if not self._squares or not many:
            return None
        rows = self._weight**2 / self._squares
        return distance(live, training, rows, float(many), alpha)


def distance(live: Sequence[float], training: Sequence[float], rows: float, trained: float, alpha: float) -> Distance:
    """The distance of two rows of counts over the same bins, made of `rows` and of `trained` rows."""
    all_live, all_trained = sum(live), sum(training)
    seen = sum(abs(one / all_live - other / all_trained) for one, other in zip(live, training, strict=True)) / 2
    noise = 1 / rows + 1 / trained
    # A bin that neither has adds nothing to what chance does.
    bins = sum(1 for one, other in zip(live, training, strict=True) if one or other)
    expected = math.sqrt(max(0, bins - 1) * noise) / 2
    beyond = math.sqrt(math.log(1 / alpha) * noise / 2)
    return Distance(seen, max(0.0, seen - expected - beyond), rows)


def _number(value: Any) -> float:
    """NaN for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan

"""Predictions and their outcomes as sums that add up: what a sink tells of each bundle under each revision of the route.

    (LogRow, Outcome), … --grade--> QualityEntry, …

Two passes: how many rows a unit has is known after the first. A unit is a route key under one revision, or a request without a
key: what sticks to a bundle is one observation of it, however many rows it has, so its rows share its weight.

Invariant: pure. The same rows and outcomes give the same sums in whatever order they come, up to rounding.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from penstock.evidence.quality import QualityEntry, QualitySums, Scores, Units, score_bin
from penstock_transformer.feedback.costs import Costs, logged_costs
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.quality import true_label
from penstock_transformer.feedback.row import LogRow

_LEAST_SCORE = 1e-15
"""A score of 0 for what was true costs the log of this: one row must not be infinitely wrong."""
_MOST_LABELS = 32

_Key = tuple[str, int | None, bool]
Joined = tuple[LogRow, Outcome]


class _Graded(NamedTuple):
    """One row with its place. `true` None: a number, or a label that the bundle lacks."""

    key: _Key
    unit: str
    row: LogRow
    outcome: Outcome
    true: str | None


def grade(joined: Iterable[Joined]) -> list[QualityEntry]:
    """The sums of rows and their outcomes, by bundle, revision and mode."""
    graded = [_graded(row, outcome) for row, outcome in joined]
    sizes = Counter((one.key, one.unit) for one in graded if one.true is not None)
    found: dict[_Key, _Sums] = {}
    for one in graded:
        found.setdefault(one.key, _Sums(one.row)).add(one, sizes[one.key, one.unit])
    order = sorted(found, key=lambda key: (key[0], -1 if key[1] is None else key[1], key[2]))
    return [found[key].entry() for key in order]


def joined(rows: Iterable[LogRow], outcomes: Mapping[tuple[str, int], Outcome]) -> Iterable[Joined]:
    """The rows that have an outcome, with it."""
    for row in rows:
        outcome = outcomes.get((row.id, row.row))
        if outcome is not None:
            yield row, outcome


def _graded(row: LogRow, outcome: Outcome) -> _Graded:
    scores = row.answered().get("scores") or {}
    true = None
    if row.label is not None:
        true = true_label(outcome, list(scores))
        if scores and true not in scores:
            true = None
    key = (row.bundle or row.name, row.revision, row.shadow)
    return _Graded(key, f"k{row.route_key}" if row.route_key else f"i{row.id}", row, outcome, true)


class _Sums:
    """One bundle's under one revision, as rows are added."""

    def __init__(self, first: LogRow) -> None:
        self._first = first
        self._sums = QualitySums()
        self._units = Units(costed=True)
        self._hits: dict[str, tuple[dict[int, float], dict[int, float]]] = {}

    def add(self, one: _Graded, size: int) -> None:
        """One more row, of a unit with `size` rows."""
        row, sums = one.row, self._sums
        weight = 1.0 / row.chance
        costs = logged_costs(row.costs) if row.costs else None
        if one.true is not None:
            self._add_label(one.true, row, weight, costs, weight / size)
        elif row.label is None and row.value is not None and one.outcome.value is not None:
            error = row.value - one.outcome.value
            sums.error += weight * error
            sums.absolute_error += weight * abs(error)
            sums.squared_error += weight * error * error
            if costs is not None:
                self._pay(costs, costs.of_value(error), weight)
        else:
            sums.strange += 1
            return
        sums.rows += 1
        sums.weight += weight

    def _add_label(self, true: str, row: LogRow, weight: float, costs: Costs | None, share: float) -> None:
        sums, units, said = self._sums, self._units, str(row.label)
        sums.labelled += weight
        sums.right += weight * (true == said)
        units.weight += share
        units.wrong += share * (true != said)
        units.least = min(units.least, row.chance)
        self._add_scores(true, row, weight)
        cost = None if costs is None or not costs.table else self._pay(costs, costs.of_label(true, said), weight)
        if cost is not None and sums.high > sums.low:
            units.cost += share * (cost - sums.low) / (sums.high - sums.low)
        else:
            units.costed = False

    def _pay(self, costs: Costs, cost: float, weight: float) -> float | None:
        """Count a cost, and return it; None for one of another table than the first row's, which is not counted."""
        sums = self._sums
        if not sums.table:
            sums.table = costs.digest
            sums.low, sums.high = costs.bounds
        if sums.table != costs.digest:
            return None
        sums.cost += weight * cost
        sums.costed += weight
        return cost

    def _add_scores(self, true: str, row: LogRow, weight: float) -> None:
        scores = {label: float(score) for label, score in (row.answered().get("scores") or {}).items() if score is not None}
        if true not in scores:
            return
        sums, names = self._sums, list(scores)
        judged = names[1:] if len(names) == 2 else names[:_MOST_LABELS]
        squares = [(scores[name] - (name == true)) ** 2 for name in (judged if len(names) == 2 else names)]
        sums.scored += weight
        sums.brier += weight * sum(squares)
        sums.log_loss -= weight * math.log(min(max(scores[true], _LEAST_SCORE), 1.0))
        for name in judged:
            counts = self._hits.setdefault(name, ({}, {}))[name != true]
            number = score_bin(scores[name])
            counts[number] = counts.get(number, 0.0) + weight

    def entry(self) -> QualityEntry:
        """As the document has it."""
        sums, row = self._sums, self._first
        sums.scores = {
            name: Scores(sorted(hits.items()), sorted(misses.items())) for name, (hits, misses) in sorted(self._hits.items())
        }
        sums.units = self._units
        if not self._units.weight:
            sums.units = Units()
        return QualityEntry(row.bundle or row.name, row.revision, row.shadow, row.label_of_bundle, sums)

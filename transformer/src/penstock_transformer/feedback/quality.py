"""How good a bundle's predictions were, by the outcomes that are known: pure, over rows and their outcomes.

    (LogRow, Outcome), … --Grading per bundle--> Quality

A row that was logged with the chance p stands for 1 / p requests, so each counts with that weight (Horvitz and Thompson, 1952):
sampling by rarity changes nothing but the errors. Standard errors are those of a ratio of weighted sums: the root of the sum of
w^2 (x - mean)^2, over the sum of w (Cochran, Sampling Techniques, section 6.4).

Invariant: a row is counted in every measure that it has what for, or named among `strange`; none is left out in silence.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_transformer.feedback.costs import Costs, logged_costs
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.row import LogRow

Floats = npt.NDArray[np.float64]
_BINS = 10


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows whose score lies in [low, high): how often the label was said to be true, and how often it was."""

    low: float
    high: float
    rows: int
    predicted: float
    observed: float


@dataclass(slots=True)
class Quality:
    """One bundle's, None where nothing is known. `rows` have an outcome, `weight` is how many predictions they stand for.

    `accuracy` of labels; `auc` of the second of two labels' scores, of more the mean of each label against the others;
    `calibration_error` the mean distance of `calibration`'s bins; `bias`, `mean_absolute_error` and `root_mean_squared_error` of
    numbers, predicted less true; `cost` the mean of a prediction. `strange`: outcomes with a label that the bundle does not know.
    """

    bundle: str
    shadow: bool
    rows: int = 0
    weight: float = 0.0
    accuracy: float | None = None
    accuracy_error: float | None = None
    auc: float | None = None
    calibration_error: float | None = None
    calibration: list[CalibrationBin] = field(default_factory=list)
    bias: float | None = None
    bias_error: float | None = None
    mean_absolute_error: float | None = None
    root_mean_squared_error: float | None = None
    cost: float | None = None
    cost_error: float | None = None
    strange: dict[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class _Grading:
    """One bundle's rows as they are gone through."""

    def __init__(self) -> None:
        self.weights: list[float] = []
        self.labels: list[tuple[str, str, dict[str, float], float]] = []
        self.errors: list[tuple[float, float]] = []
        self.paid: list[tuple[float, float]] = []
        self.strange: Counter[str] = Counter()

    def add(self, row: LogRow, outcome: Outcome, costs: Costs | None) -> None:
        """One row and what was true of it; without `costs` by the table that was logged with it."""
        weight = 1.0 / row.chance
        costs = costs or (logged_costs(row.costs) if row.costs else None)
        if row.label is not None:
            scores = {label: score for label, score in (row.answered().get("scores") or {}).items() if score is not None}
            true = true_label(outcome, list(scores))
            if true is None or (scores and true not in scores):
                self.strange[str(outcome.truth)[:80]] += 1
                return
            self.labels.append((true, row.label, scores, weight))
            if costs is not None:
                self.paid.append((costs.of_label(true, row.label), weight))
        elif row.value is not None and outcome.value is not None:
            self.errors.append((row.value - outcome.value, weight))
            if costs is not None:
                self.paid.append((costs.of_value(row.value - outcome.value), weight))
        else:
            self.strange[str(outcome.truth)[:80]] += 1
            return
        self.weights.append(weight)

    def quality(self, bundle: str, *, shadow: bool) -> Quality:
        """All measures."""
        found = Quality(bundle, shadow, len(self.weights), float(sum(self.weights)), strange=dict(self.strange))
        if self.labels:
            self._grade_labels(found)
        if self.errors:
            errors, weights = (np.array(column, np.float64) for column in zip(*self.errors, strict=True))
            found.bias, found.bias_error = weighted_mean(errors, weights)
            found.mean_absolute_error = weighted_mean(np.abs(errors), weights)[0]
            found.root_mean_squared_error = float(np.sqrt(weighted_mean(errors**2, weights)[0]))
        if self.paid:
            values, weights = (np.array(column, np.float64) for column in zip(*self.paid, strict=True))
            found.cost, found.cost_error = weighted_mean(values, weights)
        return found

    def _grade_labels(self, found: Quality) -> None:
        weights = np.array([weight for *_, weight in self.labels], np.float64)
        right = np.array([true == said for true, said, *_ in self.labels], np.float64)
        found.accuracy, found.accuracy_error = weighted_mean(right, weights)
        scored = [(true, said, scores, weight) for true, said, scores, weight in self.labels if scores]
        if not scored:
            return
        names = list(scored[0][2])
        judged = names[1:] if len(names) == 2 else names
        weights = np.array([weight for *_, weight in scored], np.float64)
        areas = []
        for name in judged:
            positive = np.array([true == name for true, *_ in scored])
            area = area_under_curve(np.array([s.get(name, 0.0) for _, _, s, _ in scored], np.float64), positive, weights)
            if area is not None:
                areas.append(area)
        found.auc = float(np.mean(areas)) if areas else None
        if len(names) == 2:
            scores = np.array([s.get(names[1], 0.0) for _, _, s, _ in scored], np.float64)
            hits = np.array([true == names[1] for true, *_ in scored], np.float64)
        else:
            scores = np.array([s.get(said, 0.0) for _, said, s, _ in scored], np.float64)
            hits = np.array([true == said for true, said, *_ in scored], np.float64)
        found.calibration, found.calibration_error = calibration(scores, hits, weights)


def true_label(outcome: Outcome, labels: list[str]) -> str | None:
    """The label that is meant; a true or false, of two labels, means the second or the first."""
    if outcome.label is not None:
        return outcome.label
    if len(labels) == 2 and outcome.value in (0.0, 1.0):
        return labels[int(outcome.value)]
    return None


def qualities(rows: Iterable[LogRow], outcomes: Mapping[tuple[str, int], Outcome], costs: Costs | None = None) -> list[Quality]:
    """Each bundle's, what answered and what was a shadow apart; bundles without any outcome are there with 0 rows."""
    grading: dict[tuple[str, bool], _Grading] = {}
    for row in rows:
        mine = grading.setdefault((row.label_of_bundle, row.shadow), _Grading())
        outcome = outcomes.get((row.id, row.row))
        if outcome is not None:
            mine.add(row, outcome, costs)
    return [one.quality(bundle, shadow=shadow) for (bundle, shadow), one in sorted(grading.items())]


def weighted_mean(values: Floats, weights: Floats) -> tuple[float, float]:
    """The mean of `values` `[n]` by `weights` `[n]`, and its standard error."""
    total = float(weights.sum())
    mean = float((values * weights).sum() / total)
    return mean, float(np.sqrt(((weights * (values - mean)) ** 2).sum()) / total)


def area_under_curve(scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> float | None:
    """The chance that a positive row scores above a negative one, half of it where they are equal (Hanley and McNeil, 1982);
    None where one kind is missing."""
    of_positives, of_negatives = np.where(positive, weights, 0.0), np.where(positive, 0.0, weights)
    if not of_positives.sum() or not of_negatives.sum():
        return None
    _, place = np.unique(scores, return_inverse=True)
    above, below = np.bincount(place, of_positives), np.bincount(place, of_negatives)
    before = np.cumsum(below) - below
    return float((above * (before + below / 2)).sum() / (above.sum() * below.sum()))


def calibration(scores: Floats, hits: Floats, weights: Floats) -> tuple[list[CalibrationBin], float]:
    """Ten equal bins of the scores, those without rows left out, and the expected calibration error over them (Naeini, Cooper and
    Hauskrecht, 2015)."""
    place = np.clip((scores * _BINS).astype(np.intp), 0, _BINS - 1)
    bins, distance = [], 0.0
    for number in np.unique(place).tolist():
        mine = place == number
        predicted, observed = weighted_mean(scores[mine], weights[mine])[0], weighted_mean(hits[mine], weights[mine])[0]
        distance += float(weights[mine].sum()) * abs(predicted - observed)
        bins.append(CalibrationBin(number / _BINS, (number + 1) / _BINS, int(mine.sum()), predicted, observed))
    return bins, distance / float(weights.sum())

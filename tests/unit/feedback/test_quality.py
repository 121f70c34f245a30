"""Quality by outcomes, held to scikit-learn, and what is weighted, left out and named."""

import json
import random
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from penstock.errors import InvalidInput
from penstock_transformer.feedback.costs import Costs, read_costs
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.quality import area_under_curve, calibration, qualities
from penstock_transformer.feedback.row import LogRow


def row(number: int, answer: dict[str, Any], *, chance: float = 1.0, bundle: str = "sha256:1", shadow: bool = False) -> LogRow:
    label = answer.get("label")
    score = None if label is None else answer.get("scores", {}).get(label)
    value = answer.get("value")
    said = (label, score, None if value is None else float(value))
    return LogRow(
        f"i{number}", 0, 1, 1.0, "m", bundle, "n", "1", None, chance, shadow, False, None, "{}", "{}", json.dumps(answer), *said
    )


def binary(number: int, late: float, **more: Any) -> LogRow:
    return row(number, {"label": "late" if late > 0.5 else "on time", "scores": {"on time": 1 - late, "late": late}}, **more)


def truths(*given: Any) -> dict[tuple[str, int], Outcome]:
    made = [
        Outcome(f"i{n}", 0, 1.0, *((t, None) if isinstance(t, str) else (None, t))) for n, t in enumerate(given) if t is not None
    ]
    return {(outcome.id, 0): outcome for outcome in made}


def test_area_under_the_curve_is_scikit_learns() -> None:
    noise = np.random.default_rng(3)
    for _ in range(20):
        scores = noise.integers(0, 12, 60) / 12
        positive = noise.random(60) < scores
        weights = noise.random(60) * 5 + 0.1
        expected = roc_auc_score(positive, scores, sample_weight=weights)
        assert area_under_curve(scores, positive, weights) == pytest.approx(expected, abs=1e-12)
    assert area_under_curve(scores, np.ones(60, bool), weights) is None


def test_accuracy_of_labels_with_the_chance_as_weight() -> None:
    rows = [binary(0, 0.9), binary(1, 0.8, chance=0.1), binary(2, 0.2), binary(3, 0.6)]
    (found,) = qualities(rows, truths("late", "on time", "on time", None))
    assert (found.rows, found.weight) == (3, 12.0)
    assert found.accuracy == pytest.approx(2 / 12)
    assert found.accuracy_error is not None
    assert 0 < found.accuracy_error < 1


def test_true_and_false_stand_for_the_second_and_the_first_of_two_labels() -> None:
    (found,) = qualities([binary(0, 0.9), binary(1, 0.1)], truths(1.0, 0.0))
    assert (found.accuracy, found.auc) == (1.0, 1.0)


def test_a_label_that_the_bundle_lacks_is_named_and_not_counted() -> None:
    (found,) = qualities([binary(0, 0.9), binary(1, 0.9)], truths("Late", "late"))
    assert (found.rows, found.accuracy, found.strange) == (1, 1.0, {"Late": 1})


def test_errors_of_numbers() -> None:
    rows = [row(0, {"value": 3.0}), row(1, {"value": 1.0}, chance=0.5), row(2, {"value": 7.0})]
    (found,) = qualities(rows, truths(1.0, 2.0, "seven"), Costs(over=1.0, under=10.0))
    assert found.bias == pytest.approx((2 - 2 * 1) / 3)
    assert found.mean_absolute_error == pytest.approx((2 + 2 * 1) / 3)
    assert found.root_mean_squared_error == pytest.approx(((4 + 2 * 1) / 3) ** 0.5)
    assert found.cost == pytest.approx((2 * 1 + 2 * 10) / 3)
    assert found.strange == {"seven": 1}


def test_bundles_and_shadows_apart_and_those_without_outcome_too() -> None:
    rows = [binary(0, 0.9), binary(0, 0.1, bundle="sha256:2", shadow=True), binary(5, 0.1, bundle="sha256:3")]
    found = qualities(rows, truths("late"))
    assert [(one.bundle, one.shadow, one.rows, one.accuracy) for one in found] == [
        ("n@sha256:1", False, 1, 1.0),
        ("n@sha256:2", True, 1, 0.0),
        ("n@sha256:3", False, 0, None),
    ]


def test_several_labels() -> None:
    answers = [{"a": 0.7, "b": 0.2, "c": 0.1}, {"a": 0.1, "b": 0.8, "c": 0.1}, {"a": 0.2, "b": 0.2, "c": 0.6}]
    rows = [row(n, {"label": max(s, key=lambda k: s[k]), "scores": s}) for n, s in enumerate(answers)]
    (found,) = qualities(rows, truths("a", "b", "b"))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.auc is not None
    assert [one.rows for one in found.calibration] == [1, 1, 1]


def test_calibration() -> None:
    scores, hits = np.array([0.05, 0.05, 0.95, 1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    bins, error = calibration(scores, hits, np.ones(4))
    assert [(one.low, one.rows, one.observed) for one in bins] == [(0.0, 2, 0.5), (0.9, 2, 1.0)]
    assert error == pytest.approx((2 * 0.45 + 2 * 0.025) / 4)


def test_sampling_by_rarity_changes_nothing_but_the_error() -> None:
    draw = random.Random(5)
    every, some, outcomes = [], [], {}
    for number in range(4000):
        score = draw.random() ** 4
        outcomes[f"i{number}", 0] = Outcome(f"i{number}", 0, 1.0, "late" if draw.random() < score else "on time")
        chance = 0.9 if score > 0.5 else 0.2
        every.append(binary(number, score))
        if draw.random() < chance:
            some.append(binary(number, score, chance=chance))
    (whole,), (sample,) = qualities(every, outcomes), qualities(some, outcomes)
    assert whole.accuracy is not None
    assert sample.accuracy_error is not None
    assert sample.accuracy == pytest.approx(whole.accuracy, abs=4 * sample.accuracy_error)
    assert sample.auc == pytest.approx(whole.auc, abs=0.05)
    assert sample.weight == pytest.approx(whole.weight, rel=0.1)


def test_costs_of_the_card() -> None:
    table = read_costs({"costs": {"late": {"on time": 40, "late": 5}, "on time": {"late": 5.5}}})
    assert table is not None
    assert (table.of_label("late", "on time"), table.of_label("on time", "late"), table.of_label("on time", "on time")) == (
        40,
        5.5,
        0,
    )
    units = read_costs({"costs": {"over": 1, "under": 3}})
    assert units is not None
    assert (units.of_value(2.0), units.of_value(-2.0)) == (2.0, 6.0)
    assert read_costs({}) is None
    (found,) = qualities([binary(0, 0.9), binary(1, 0.1)], truths("late", "late"), table)
    assert found.cost == pytest.approx(22.5)
    for wrong, field in (([], "card.costs"), ({"late": 3}, "card.costs.late"), ({"late": {"x": "y"}}, "card.costs.late.x")):
        with pytest.raises(InvalidInput) as caught:
            read_costs({"costs": wrong})
        assert caught.value.field == field

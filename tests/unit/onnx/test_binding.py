"""Bound runs give what plain runs give, and are taken only where that was measured to pay."""

import numpy as np
import pytest

from penstock.onnx import binding, load
from penstock.onnx.binding import BoundRun, bind
from penstock.testing import models

FEEDS = {"a": np.ones((1, 2), np.float32), "b": np.array([1])}


def priced(monkeypatch: pytest.MonkeyPatch, bound: float, plain: float) -> None:
    prices = iter((bound, plain))
    monkeypatch.setattr(binding, "least_s", lambda _call, _repeats: next(prices))


def test_a_bound_run_gives_all_outputs_and_keeps_none() -> None:
    session = load(models.several())
    bound = BoundRun(session, FEEDS, session.run(FEEDS))
    first = bound.run(FEEDS)
    second = bound.run({"a": np.zeros((1, 2), np.float32), "b": np.array([7])})
    assert [array.tolist() for array in first] == [[[2, 2]], [False], [2]]
    assert [array.tolist() for array in second] == [[[7, 7]], [True], [14]]


@pytest.mark.parametrize(("bound", "taken"), [(5.0, True), (9.5, False), (12.0, False)])
def test_it_is_taken_where_it_is_clearly_cheaper(monkeypatch: pytest.MonkeyPatch, bound: float, taken: bool) -> None:
    priced(monkeypatch, bound, 10.0)
    assert (bind(load(models.several()), FEEDS) is not None) is taken


@pytest.mark.parametrize(
    ("model", "feeds"),
    [
        (models.labels(), {"word": np.array([["a"]], object)}),
        (models.listed(), {"x": np.zeros((1, 3), np.float32)}),
        (models.noisy(), {"x": np.zeros((1, 3), np.float32)}),
        (models.turned(), {"x": np.zeros((1, 3), np.float32)}),
        (models.doubled(), {"x": np.zeros((0, 3), np.float32)}),
    ],
)
def test_models_whose_outputs_cannot_be_bound_are_left(
    monkeypatch: pytest.MonkeyPatch, model: bytes, feeds: dict[str, np.ndarray]
) -> None:
    priced(monkeypatch, 1.0, 10.0)
    assert bind(load(model), feeds) is None


def test_a_bound_run_that_fails_is_left_to_the_plain_one() -> None:
    session = load(models.embedding(5))
    feeds = {"index": np.array([1])}
    bound = BoundRun(session, feeds, session.run(feeds))
    with pytest.raises(Exception, match="out of data bounds"):
        bound.run({"index": np.array([9])})
    assert bound.run({"index": np.array([2])})[0].tolist() == [[4, 5]]

"""Each example does what its README says: every command runs as written, and what is shown as output is what comes out."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from penstock.onnx import load

Follow = Callable[[str], list[tuple[str, str]]]


@pytest.fixture
def check(alike: Callable[[Any, Any], None]) -> Callable[[list[tuple[str, str]]], None]:
    def check_all(pairs: list[tuple[str, str]]) -> None:
        assert pairs
        for shown, real in pairs:
            alike(json.loads(shown), json.loads(real))

    return check_all


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("readme", ["README.md", "examples/plain/README.md", "examples/digits/README.md"])
def test_a_readme_is_true_to_the_letter(readme: str, follow: Follow, check: Any) -> None:
    check(follow(readme))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_flights_does_what_its_readme_says_and_its_training_set_is_what_is_served(
    reader: Any, follow: Follow, check: Any
) -> None:
    check(follow("examples/flights/README.md"))

    with closing(sqlite3.connect(reader.folder / ".run/flights/company.db")) as company:
        ids = [row[0] for row in company.execute((reader.folder / "examples/flights/queries/labelled.sql").read_text())]
    training = np.load(reader.folder / ".run/flights/training.npz")
    assert len(ids) == len(training["x"]) == len(training["late"])
    (scores,) = load(reader.folder / ".run/flights/bundle/model.onnx").run({"x": training["x"]}, ["probabilities"])
    for row in range(0, len(ids), len(ids) // 10):
        answer = json.loads(reader.run(f"curl -s http://127.0.0.1:8080/predict/{ids[row]}"))
        assert answer["predictions"][0]["scores"]["late"] == pytest.approx(float(scores[row, 1]), abs=1e-6)


def test_a_shown_answer_that_differs_is_found(alike: Callable[[Any, Any], None]) -> None:
    alike({"a": [1, 0.25, "x@sha256:…"]}, {"a": [1, 0.250001, "x@sha256:" + "0" * 64]})
    for wrong in ({"a": [1]}, {"b": 1}, {"a": [1, 0.3, "x@sha256:…"]}, {"a": [1, 0.25, "y@sha256:…"]}):
        with pytest.raises(AssertionError):
            alike(wrong, {"a": [1, 0.25, "x@sha256:" + "0" * 64]})

"""Each example does what its README says: every command runs as written, and what is shown as output is what comes out."""

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from penstock.onnx import load

Follow = Callable[[str], list[tuple[str, str]]]

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def alike(shown: Any, real: Any, path: str = "") -> None:
    """What a README shows is what came out, but for digests, for ages (they depend on today) and for a float's last digits."""
    if isinstance(shown, dict) and isinstance(real, dict):
        assert list(shown) == list(real), path
        for name in shown:
            if name != "ages_s":
                alike(shown[name], real[name], f"{path}.{name}")
    elif isinstance(shown, list) and isinstance(real, list):
        assert len(shown) == len(real), path
        for index, (one, other) in enumerate(zip(shown, real, strict=True)):
            alike(one, other, f"{path}[{index}]")
    elif isinstance(shown, float) and isinstance(real, float):
        assert shown == pytest.approx(real, rel=1e-3, abs=1e-5), path
    elif isinstance(shown, str) and isinstance(real, str):
        assert DIGEST.sub("sha256:…", shown).replace("sha256:…", "") == DIGEST.sub("", real), path
    else:
        assert shown == real, path


def check(pairs: list[tuple[str, str]]) -> None:
    assert pairs
    for shown, real in pairs:
        alike(json.loads(shown), json.loads(real))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("readme", ["README.md", "examples/plain/README.md", "examples/digits/README.md"])
def test_a_readme_is_true_to_the_letter(readme: str, follow: Follow) -> None:
    check(follow(readme))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_flights_does_what_its_readme_says_and_its_training_set_is_what_is_served(reader: Any, follow: Follow) -> None:
    check(follow("examples/flights/README.md"))

    with closing(sqlite3.connect(reader.folder / ".run/flights/company.db")) as company:
        ids = [row[0] for row in company.execute((reader.folder / "examples/flights/queries/labelled.sql").read_text())]
    training = np.load(reader.folder / ".run/flights/training.npz")
    assert len(ids) == len(training["x"]) == len(training["late"])
    (scores,) = load(reader.folder / ".run/flights/bundle/model.onnx").run({"x": training["x"]}, ["probabilities"])
    for row in range(0, len(ids), len(ids) // 10):
        answer = json.loads(reader.run(f"curl -s http://127.0.0.1:8080/predict/{ids[row]}"))
        assert answer["predictions"][0]["scores"]["late"] == pytest.approx(float(scores[row, 1]), abs=1e-6)


def test_a_shown_answer_that_differs_is_found() -> None:
    alike({"a": [1, 0.25, "x@sha256:…"]}, {"a": [1, 0.250001, "x@sha256:" + "0" * 64]})
    for wrong in ({"a": [1]}, {"b": 1}, {"a": [1, 0.3, "x@sha256:…"]}, {"a": [1, 0.25, "y@sha256:…"]}):
        with pytest.raises(AssertionError):
            alike(wrong, {"a": [1, 0.25, "x@sha256:" + "0" * 64]})

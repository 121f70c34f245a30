"""Rows of many megabytes, films and volumes: loading a model tries few of them, in small batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.onnx.session import Session
from penstock.testing import models
from penstock_predictor import rows, samples
from penstock_predictor.axes import Sharing
from penstock_predictor.loading import load_directory
from penstock_predictor.settings import ModelSettings

MIB = 2**20


def test_no_batch_at_load_is_larger_than_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_MOST_BYTES", 4 * MIB)
    monkeypatch.setattr(rows, "_MOST_BYTES", 4 * MIB)
    seen: list[tuple[int, int]] = []
    real = Session.run

    def run(self: Session, feeds: dict[str, Any], *given: Any, **named: Any) -> Any:
        seen.append((len(feeds["x"]), feeds["x"].nbytes))
        return real(self, feeds, *given, **named)

    monkeypatch.setattr(Session, "run", run)
    (tmp_path / "model.onnx").write_bytes(models.doubled(axes=("rows", MIB // 4)))
    (loaded,) = load_directory(tmp_path, "m", ModelSettings(max_queue_mb=8, profile_s=0.5, threads=1))
    assert loaded.rule.sharing is Sharing.FREE
    assert max(nbytes for _, nbytes in seen) <= 8 * MIB
    assert {count for count, _ in seen} >= {1, 2, 3, 8}
    assert loaded.policy.max_rows <= 8


def test_rows_that_hardly_fit_are_tried_in_pairs() -> None:
    assert list(rows._orders(1)) == [[0, 1], [1, 0], [0, 0]]
    assert max(map(len, rows._orders(64))) == 17
    few = samples.Samples([{"x": np.zeros((1, 1000), np.float32)}])
    assert few.fitting(10_000) == 2
    assert few.fitting(10) == 1

"""External weights are copied at load: what happens to their files later changes nothing."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from penstock.onnx import SessionSettings, load
from penstock.onnx.weights import copied_weights
from penstock.testing import models

# Large enough that the library would map its file.
LARGE = models.mlp((3, 400, 400, 1))
X = {"x": np.ones((1, 3), np.float32)}


def save(directory: Path) -> Path:
    proto = onnx.load_from_string(LARGE)
    onnx.save_model(proto, directory / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return directory / "model.onnx"


def test_files_that_are_written_over_or_cut_off_change_no_answer(tmp_path: Path) -> None:
    session = load(save(tmp_path), SessionSettings(threads=1))
    expected = load(LARGE, SessionSettings(threads=1)).run(X)[0].tolist()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    weights = tmp_path / "weights.bin"
    with weights.open("r+b") as file:
        file.write(b"\0" * weights.stat().st_size)
    assert session.run(X)[0].tolist() == expected
    with weights.open("r+b") as file:
        file.truncate(10)
    assert session.run(X)[0].tolist() == expected


def test_a_library_that_takes_no_contents_is_left_to_its_ways(tmp_path: Path) -> None:
    with copied_weights(save(tmp_path), ["weights.bin"], object()):
        pass
    (tmp_path / "empty").touch()

    class Options:
        def add_external_initializers_from_files_in_memory(self, *given: object) -> None:
            pytest.fail("nothing to give")

    with copied_weights(tmp_path / "model.onnx", ["empty"], Options()):
        pass

"""Sessions: what loads, what runs, and what a caller is told when it does not."""

from pathlib import Path

import numpy as np
import pytest

from penstock.errors import Internal, InvalidInput
from penstock.onnx import Session, SessionSettings, load
from penstock.testing import models


@pytest.fixture(scope="module")
def mlp() -> Session:
    return load(models.mlp())


def test_signature_and_axes(mlp: Session) -> None:
    (x,), (y,) = mlp.inputs, mlp.outputs
    assert (x.name, x.datatype, x.shape) == ("x", "FP32", (-1, 32))
    assert (y.name, y.datatype, y.shape) == ("y", "FP32", (-1, 1))
    assert mlp.input_axes == {"x": ("rows", 32)}
    assert mlp.providers == ("CPUExecutionProvider",)


def test_runs_what_is_asked_for() -> None:
    session = load(models.several())
    feeds = {"a": np.ones((2, 2), np.float32), "b": np.array([1, 3])}
    total, big, b2 = session.run(feeds)
    assert total.tolist() == [[2, 2], [4, 4]]
    assert big.tolist() == [False, True]
    assert b2.tolist() == [2, 6]
    assert [a.tolist() for a in session.run(feeds, ["b2", "big"])] == [[2, 6], [False, True]]


def test_strings_in_and_out() -> None:
    session = load(models.labels())
    index, same = session.run({"word": np.array([["no"], ["Ünïcode"], [""]], dtype=object)})
    assert index.tolist() == [[2], [-1], [-1]]
    assert same.tolist() == [["no"], ["Ünïcode"], [""]]
    assert [tensor.datatype for tensor in session.outputs] == ["INT64", "BYTES"]


def test_float16_and_bool() -> None:
    assert load(models.half()).run({"x": np.full((1, 3), 1.5, np.float16)})[0].tolist() == [[3.0, 3.0, 3.0]]
    assert load(models.negated()).run({"x": np.array([[True, False]])})[0].tolist() == [[False, True]]


def test_outputs_that_are_no_tensors_are_left_out() -> None:
    session = load(models.listed())
    assert [output.name for output in session.outputs] == ["label"]
    assert session.skipped_outputs == ("scores",)
    assert len(session.run({"x": np.eye(3, dtype=np.float32)})) == 1


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "x: missing"),
        ({"x": np.zeros((1, 32), np.float32), "z": np.zeros(1)}, "z: not an input"),
        ({"x": np.zeros((1, 32))}, "x: expected FP32, got float64"),
        ({"x": np.zeros((1, 31), np.float32)}, r"x.shape: expected \[-1, 32\], got \[1, 31\]"),
        ({"x": np.zeros(32, np.float32)}, r"x.shape: expected \[-1, 32\], got \[32\]"),
    ],
)
def test_bad_feeds_are_named(mlp: Session, feeds: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        mlp.run(feeds)


def test_an_unknown_output_is_named(mlp: Session) -> None:
    with pytest.raises(InvalidInput, match="nope: not an output; the model gives y"):
        mlp.run({"x": np.zeros((1, 32), np.float32)}, ["nope"])


def test_values_that_an_operator_refuses_are_the_callers_error() -> None:
    with pytest.raises(InvalidInput, match="out of data bounds") as caught:
        load(models.embedding(5)).run({"index": np.array([7])})
    assert "/" not in caught.value.message


@pytest.mark.parametrize("data", [b"", b"junk", b"{}", b"\x00" * 100, models.mlp()[:1000]])
def test_what_is_not_a_model_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a"):
        load(data)
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(InvalidInput, match=r"model\.onnx: not a"):
        load(tmp_path / "model.onnx")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"model\.onnx: cannot be read"):
        load(tmp_path / "model.onnx")


def test_types_that_the_protocol_lacks_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"x: type tensor\(bfloat16\)"):
        load(models.widened())


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="device: this image's ONNX Runtime has no CUDA"):
        load(models.mlp(), SessionSettings(device="cuda"))


def test_a_closed_session_says_so() -> None:
    session = load(models.mlp())
    session.close()
    with pytest.raises(Internal, match="closed"):
        session.run({"x": np.zeros((1, 32), np.float32)})


def test_memory_stays_flat_over_many_shapes() -> None:
    session = load(models.row_sum())
    rng = np.random.default_rng(0)

    def runs(count: int) -> None:
        for rows, length in rng.integers(1, 400, size=(count, 2)):
            session.run({"x": np.zeros((rows, length), np.float32)})

    runs(300)
    before = _resident_bytes()
    runs(1500)
    assert _resident_bytes() - before < 8 * 2**20


def _resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs Linux's /proc")
    return int(statm.read_text().split()[1]) * 4096

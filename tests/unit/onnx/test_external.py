"""External data: found by reading the file's structure, and refused unopened where it leads out of the directory."""

import contextlib
import os
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.onnx import load
from penstock.onnx.external import external_files, external_locations
from penstock.testing import models


def test_a_model_without_external_data_names_none() -> None:
    assert external_locations(models.mlp()) == ()


def test_external_data_inside_the_directory_is_found_and_loaded(tmp_path: Path) -> None:
    path = models.save_external(tmp_path)
    assert external_files(path) == ("weights.bin",)
    assert load(path).inputs[0].name == "x"


def test_a_model_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    # Of a file: what is mapped into memory can be closed only when nothing refers to it any more.
    whole = models.mlp()
    path = tmp_path / "model.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match="not an ONNX model") as refused:
        external_files(path)
    assert refused.value.field == "model.onnx"


def test_a_subdirectory_is_inside(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert external_files(models.save_external(tmp_path, "data/weights.bin")) == ("data/weights.bin",)


@pytest.mark.parametrize("location", ["../weights.bin", "data/../../weights.bin", "..\\weights.bin", "", "/etc/hostname"])
def test_a_location_outside_is_refused(tmp_path: Path, location: str) -> None:
    inner = tmp_path / "model"
    inner.mkdir()
    path = models.save_external(inner, location, actual=tmp_path / "weights.bin")
    with pytest.raises(InvalidInput, match="outside the model's directory"):
        load(path)


def test_a_symbolic_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "model"
    inner.mkdir()
    path = models.save_external(inner, actual=tmp_path / "weights.bin")
    (inner / "weights.bin").symlink_to("../weights.bin")
    with pytest.raises(InvalidInput, match="outside"):
        external_files(path)


def test_a_link_to_the_directory_itself_is_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    models.save_external(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    assert external_files(tmp_path / "link" / "model.onnx") == ("weights.bin",)


def test_outside_is_never_opened(tmp_path: Path) -> None:
    # A pipe blocks whoever opens it: a test that hangs has opened it.
    inner = tmp_path / "model"
    inner.mkdir()
    path = models.save_external(inner, "../pipe", actual=tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="outside"):
        load(path)


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    path = models.save_external(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InvalidInput, match=r"weights\.bin.*missing"):
        load(path)


def test_external_data_of_a_constant_inside_a_branch_is_found() -> None:
    model = onnx.load_from_string(models.mlp())
    inner = onnx.helper.make_graph([], "branch", [], [], [_elsewhere("deep.bin")])
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("then_branch", inner))
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("value", _elsewhere("value.bin")))
    model.functions.append(
        onnx.helper.make_function(
            "d", "f", [], ["o"], [onnx.helper.make_node("Constant", [], ["o"], value=_elsewhere("f.bin"))], []
        )
    )
    assert external_locations(model.SerializeToString()) == ("deep.bin", "f.bin", "value.bin")


def _elsewhere(location: str) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_a_model_given_as_bytes_may_not_name_files(tmp_path: Path) -> None:
    data = models.save_external(tmp_path).read_bytes()
    with pytest.raises(InvalidInput, match="needs the model's directory"):
        load(data)


def test_nesting_without_end_is_refused() -> None:
    message = b""
    for _ in range(200):
        message = _field(7, _field(1, _field(5, _field(6, message))[2:])) if not message else _wrap(message)
    with pytest.raises(InvalidInput, match="not an ONNX model"):
        external_locations(_field(7, message))


def _wrap(graph: bytes) -> bytes:
    return _field(1, _field(5, _field(6, graph)))


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _length(len(data)) + data


def _length(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@given(st.binary(max_size=300))
def test_any_bytes_give_locations_or_invalid_input(data: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        assert isinstance(external_locations(data), tuple)


@given(st.integers(0, 2000))
def test_a_cut_model_never_ends_in_another_error(length: int) -> None:
    with contextlib.suppress(InvalidInput):
        external_locations(models.mlp((4, 8, 2))[:length])


@pytest.mark.parametrize("location", ["a\0b", "x" * 300, "round", "round/weights.bin"])
def test_a_location_that_no_file_can_have_is_refused(tmp_path: Path, location: str) -> None:
    path = models.save_external(tmp_path)
    (tmp_path / "round").symlink_to("round")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInput, match="external data"):
        external_files(path)

"""Tensors: every form of the same data, strings, parts, and what is refused. (Round trips of all forms are codec tests.)"""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.tensors import DATATYPES, RawTensor, Tensor, datatype_of, pack_bytes, unpack_bytes


@pytest.mark.parametrize("name", sorted(DATATYPES))
def test_datatypes_and_dtypes_name_each_other(name: str) -> None:
    datatype = DATATYPES[name]
    assert datatype_of(datatype.dtype) == name
    assert datatype.size == (0 if name == "BYTES" else datatype.dtype.itemsize)


@pytest.mark.parametrize("dtype", ["U5", "S5", object])
def test_text_is_bytes(dtype: Any) -> None:
    assert datatype_of(np.dtype(dtype)) == "BYTES"


@pytest.mark.parametrize("dtype", ["c8", "M8[s]", "V3", ">f4"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(InvalidInput, match="no protocol datatype for numpy"):
        datatype_of(np.dtype(dtype))


def forms(array: Any) -> list[Tensor]:
    """The same tensor, made in every way there is."""
    first = Tensor.from_array("x", array)
    both = np.concatenate([array[:1], array, array[:1]])
    return [
        first,
        Tensor.from_raw("x", first.datatype, first.shape, first.raw),
        Tensor.from_raw("x", first.datatype, first.shape, memoryview(bytes(first.raw))),
        Tensor.from_flat("x", first.datatype, first.shape, array.ravel().tolist()),
        Tensor.from_array("x", both).rows(1, 1 + len(array)),
        Tensor.from_array("x", both).rows(0, len(array) + 1).rows(1, 1 + len(array)),
    ]


@pytest.mark.parametrize(
    "array, json",
    [
        (np.array([[1, 2], [3, 4]], np.int16), b"1,2,3,4"),
        (np.array([[0.1, np.nan], [np.inf, -2]], np.float32), b"0.1,null,null,-2.0"),
        (np.array([[True, False]]), b"true,false"),
        (np.array(["a", "é"], object), '"a","é"'.encode()),
        (np.array([[[0.5]], [[1.5]]]), b"0.5,1.5"),
    ],
)
def test_all_forms_agree(array: Any, json: bytes) -> None:
    for tensor in forms(array):
        assert tensor.shape == array.shape
        assert tensor.size == array.size
        assert tensor.array.shape == array.shape
        np.testing.assert_array_equal(np.array(tensor.flat).size, array.size)
        assert bytes(tensor.raw) == bytes(Tensor.from_array("x", array).raw)
        assert tensor.json == json
        assert tensor.json == json  # what is kept is what was made
        assert b",".join(tensor.json_rows()) == json
        assert tensor.json_rows() is not None
        if tensor.datatype == "BYTES":
            assert tensor.strings().tolist() == array.tolist()
        else:
            assert tensor.nbytes == array.nbytes
            np.testing.assert_array_equal(tensor.array, array)


def test_layouts_that_numpy_makes() -> None:
    """A transposed or strided array is written row by row all the same."""
    for array in (
        np.arange(6, dtype=np.int32).reshape(2, 3).T,
        np.arange(12, dtype=np.int32)[::2],
        np.arange(6).reshape(2, 3)[:, ::-1],
    ):
        tensor = Tensor.from_array("x", array)
        assert np.frombuffer(tensor.raw, array.dtype).tolist() == tensor.flat == array.ravel().tolist()
        assert tensor.json == b",".join(b"%d" % value for value in tensor.flat)
        assert b",".join(tensor.json_rows()) == tensor.json


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 0), (2, 0, 3)])
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_empty_and_scalar_shapes(shape: tuple[int, ...], datatype: str) -> None:
    array = np.full(shape, 1 if datatype == "FP32" else "a", DATATYPES[datatype].dtype)
    tensor = Tensor.from_array("x", array)
    again = Tensor.from_raw("x", datatype, shape, tensor.raw)
    assert again.array.shape == shape
    assert again.flat == (([1.0] if datatype == "FP32" else [b"a"]) if shape == () else [])
    assert len(again.json_rows()) == (shape[0] if shape else 1)
    assert again.json == {(): {"FP32": b"1.0", "BYTES": b'"a"'}[datatype]}.get(shape, b"")
    if shape:
        assert again.rows(0, shape[0]).json == b""
        assert bytes(again.rows(0, shape[0]).raw) == b""


def test_parts_share_what_their_batch_converted() -> None:
    for batch in (Tensor.from_array("y", np.arange(4.0)), Tensor.from_raw("y", "FP64", (4,), np.arange(4.0).tobytes())):
        first, second = batch.rows(0, 1), batch.rows(1, 3)
        assert first.json is batch.rows(0, 1).json
        assert second.json == b"1.0,2.0"
        assert np.shares_memory(first.array, second.array.base if second.array.base is not None else second.array)
    texts = Tensor.from_flat("y", "BYTES", (2,), ["a", "b"])
    assert texts.rows(1, 2).json is texts.rows(1, 2).json


def test_objects_are_never_looked_into() -> None:
    tensor = Tensor.from_flat("x", "BYTES", (2,), [b"ab", b"cd"])
    assert tensor.array.tolist() == [b"ab", b"cd"]
    assert tensor.array is tensor.array


def test_text_that_is_not_utf8() -> None:
    tensor = Tensor.from_raw("x", "BYTES", (1,), pack_bytes([b"\xff"]))
    assert tensor.flat == [b"\xff"]
    for form in (tensor.strings, lambda: tensor.json, tensor.json_rows):
        with pytest.raises(InvalidInput, match="x: expected UTF-8 text"):
            form()
    lone = Tensor.from_flat("x", "BYTES", (1,), ["\ud800"])
    with pytest.raises(InvalidInput, match="x: expected UTF-8 text"):
        _ = lone.json


def test_half_floats_have_no_json() -> None:
    tensor = Tensor.from_array("x", np.zeros(1, np.float16))
    with pytest.raises(InvalidInput, match="x: FP16 has no JSON form"):
        _ = tensor.json


def test_base_tells_what_is_missing() -> None:
    bare: Any = Tensor("x", "FP32", (1,))
    for form in ("array", "raw", "flat", "json"):
        with pytest.raises(NotImplementedError):
            getattr(bare, form)
    with pytest.raises(NotImplementedError):
        bare.json_rows()


def test_shown_without_its_data() -> None:
    assert repr(RawTensor("x", "FP32", (1, 2), b"\0" * 8)) == "Tensor('x', FP32, [1, 2])"


@given(st.lists(st.binary(max_size=5) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)))
def test_packed_elements_come_back(elements: list[str | bytes]) -> None:
    expected = [element.encode() if isinstance(element, str) else element for element in elements]
    assert unpack_bytes(pack_bytes(elements), len(elements), "x") == expected


@given(st.binary(max_size=30), st.integers(0, 6))
def test_unpacking_anything(raw: bytes, count: int) -> None:
    try:
        elements = unpack_bytes(raw, count, "x")
    except InvalidInput as error:
        assert error.field == "x"  # noqa: PT017
        return
    assert pack_bytes(elements) == raw


@pytest.mark.parametrize(
    "raw, message",
    [
        (b"\1\0", "binary data ends inside element 0 of 1"),
        (struct.pack("<I", 4) + b"abc", "element 0 claims 4 bytes, 3 are left"),
        (struct.pack("<I", 2**32 - 1), "element 0 claims 4294967295 bytes, 0 are left"),
        (struct.pack("<I", 1) + b"abc", "2 bytes left after 1 elements"),
    ],
)
def test_lengths_that_lie(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        unpack_bytes(raw, 1, "x")

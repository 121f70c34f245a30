"""Whatever tensor goes in, in whatever form, the same tensor comes out: every datatype and shape, JSON, binary and mixed."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.dataplane import Context, InferRequest, InferResponse, RequestedOutput
from penstock.errors import InvalidInput
from penstock.protocol import v2
from penstock.tensors import DATATYPES, Array, Tensor

JSON_DATATYPES = sorted(DATATYPES.keys() - {"FP16"})
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@st.composite
def arrays(draw: st.DrawFn, datatype: str, *, infinities: bool = True) -> Array:
    shape = draw(shapes)
    count = math.prod(shape)
    dtype = DATATYPES[datatype].dtype
    if datatype == "BYTES":
        values: list[Any] = draw(st.lists(texts, min_size=count, max_size=count))
    elif datatype == "BOOL":
        values = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    elif dtype.kind == "f":
        width = dtype.itemsize * 8
        element = st.floats(width=width, allow_infinity=infinities)  # type: ignore[arg-type]
        values = draw(st.lists(element, min_size=count, max_size=count))
    else:
        info = np.iinfo(dtype)
        values = draw(st.lists(st.integers(int(info.min), int(info.max)), min_size=count, max_size=count))
    out = np.empty(count, dtype=dtype)
    out[:] = values
    return out.reshape(shape)


def item(name: str, datatype: str, array: Array, *, nested: bool) -> dict[str, Any]:
    data = array.tolist() if nested and array.ndim else array.ravel().tolist()
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": _nulls(data)}


def _nulls(data: Any) -> Any:
    if isinstance(data, list):
        return [_nulls(part) for part in data]
    return None if isinstance(data, float) and math.isnan(data) else data


def same(tensor: Tensor, array: Array) -> None:
    """Equal to the last bit, whichever form one looks at; a NaN is a NaN."""
    assert tensor.shape == array.shape
    if tensor.datatype == "BYTES":
        assert tensor.strings().tolist() == array.tolist()
    else:
        np.testing.assert_array_equal(tensor.array, array)
        assert tensor.array.dtype == array.dtype
        assert len(tensor.raw) == array.nbytes
    np.testing.assert_array_equal(np.array(tensor.flat, dtype=object).shape, (array.size,))


def request(*tensors: Tensor, **more: Any) -> InferRequest:
    return InferRequest("m", list(tensors), Context("r"), **more)


@pytest.mark.parametrize("datatype", JSON_DATATYPES)
@settings(max_examples=30)
@given(data=st.data())
def test_json_requests(decode: Any, datatype: str, data: st.DataObject) -> None:
    first = data.draw(arrays(datatype, infinities=False))
    second = data.draw(arrays(datatype, infinities=False))
    items = [
        item("a", datatype, first, nested=data.draw(st.booleans())),
        item("b", datatype, second, nested=data.draw(st.booleans())),
    ]
    got = decode(json.dumps({"inputs": items}).encode())
    assert [tensor.name for tensor in got.inputs] == ["a", "b"]
    same(got.inputs[0], first)
    same(got.inputs[1], second)


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
@settings(max_examples=30)
@given(data=st.data())
def test_binary_requests(decode: Any, datatype: str, data: st.DataObject) -> None:
    first, second = data.draw(arrays(datatype)), data.draw(arrays(datatype))
    sent = request(Tensor.from_array("a", first), Tensor.from_array("b", second), id=data.draw(st.none() | st.just("7")))
    body, header_length = v2.encode_request(sent)
    for _ in range(2):  # the second time the header is known
        got = decode(body, header_length)
        assert (got.id, got.binary_output, got.outputs) == (sent.id, True, None)
        same(got.inputs[0], first)
        same(got.inputs[1], second)
        raws = b"".join(bytes(tensor.raw) for tensor in got.inputs)
        assert raws == body[header_length:]


@settings(max_examples=30)
@given(data=st.data())
def test_mixed_requests(decode: Any, data: st.DataObject) -> None:
    """Any choice of binary and JSON inputs, in any order."""
    items: list[dict[str, Any]] = []
    expected: list[Array] = []
    tail = b""
    for at in range(data.draw(st.integers(1, 4))):
        binary = data.draw(st.booleans())
        datatype = data.draw(st.sampled_from(sorted(DATATYPES) if binary else JSON_DATATYPES))
        array = data.draw(arrays(datatype, infinities=binary))
        expected.append(array)
        if binary:
            raw = bytes(Tensor.from_array("t", array).raw)
            items.append({"name": f"t{at}", "datatype": datatype, "shape": list(array.shape)})
            items[-1]["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        else:
            items.append(item(f"t{at}", datatype, array, nested=data.draw(st.booleans())))
    header = json.dumps({"inputs": items}).encode()
    got = decode(header + tail, len(header))
    for tensor, array in zip(got.inputs, expected, strict=True):
        same(tensor, array)


@settings(max_examples=30)
@given(data=st.data())
def test_responses(decode: Any, data: st.DataObject) -> None:
    """Each output in the form that its caller asked for, read back by the client's decoder."""
    outputs: list[Tensor] = []
    asked: list[RequestedOutput] = []
    default = data.draw(st.booleans())
    for at in range(data.draw(st.integers(0, 4))):
        form = data.draw(st.sampled_from([None, True, False]))
        binary = default if form is None else form
        datatype = data.draw(st.sampled_from(sorted(DATATYPES) if binary else JSON_DATATYPES))
        outputs.append(Tensor.from_array(f"y{at}", data.draw(arrays(datatype, infinities=binary))))
        asked.append(RequestedOutput(f"y{at}", form))
    sent = InferResponse("m", outputs, bundle="b", version=data.draw(st.sampled_from([None, "3"])))
    want = request(id=data.draw(st.none() | texts), outputs=asked or None, binary_output=default)
    body, header_length = v2.encode_response(sent, want)
    header = json.loads(body[:header_length])
    assert header["model_name"] == "m"
    assert header.get("model_version") == sent.version
    assert header.get("id") == want.id
    binary_outputs = [output["name"] for output in header["outputs"] if "data" not in output]
    assert binary_outputs == [a.name for a in asked if (default if a.binary is None else a.binary)]
    assert (header_length is None) == (not binary_outputs)
    for _ in range(2):  # the second time the header may be known
        got = v2.decode_response(body, header_length, bundle="b")
        assert (got.model, got.version, got.bundle) == ("m", sent.version, "b")
        for tensor, original in zip(got.outputs, outputs, strict=True):
            assert (tensor.name, tensor.datatype) == (original.name, original.datatype)
            same(tensor, original.array)


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
@settings(max_examples=30)
@given(data=st.data())
def test_parts_of_a_batch(datatype: str, data: st.DataObject) -> None:
    """A part answers each form as a tensor of its own rows would, and parts of parts do too."""
    array = data.draw(arrays(datatype).filter(lambda array: array.ndim > 0))
    start = data.draw(st.integers(0, len(array)))
    stop = data.draw(st.integers(start, len(array)))
    whole = Tensor.from_array("y", array)
    if data.draw(st.booleans()):
        whole = Tensor.from_raw("y", datatype, array.shape, whole.raw)
    part, alone = whole.rows(start, stop), Tensor.from_array("y", array[start:stop])
    assert (part.shape, part.size) == (alone.shape, alone.size)
    assert part.nbytes == alone.nbytes or datatype == "BYTES"
    same(part, array[start:stop])
    assert bytes(part.raw) == bytes(alone.raw)
    if datatype == "FP16" and array.size:
        with pytest.raises(InvalidInput, match="FP16 has no JSON form"):
            _ = part.json_rows()
    elif datatype != "FP16":
        assert part.json == alone.json
        assert part.json_rows() == alone.json_rows()
    if len(part.shape) and stop - start > 1:
        same(part.rows(1, stop - start), array[start + 1 : stop])

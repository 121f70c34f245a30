"""Tensors to messages and back, all datatypes, both forms; and what is refused, by field."""

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from penstock.dataplane import Context, InferRequest, InferResponse
from penstock.errors import InvalidInput, TooLarge
from penstock.protocol.grpc.contents import LISTS, fill_contents
from penstock.protocol.grpc.decoding import decode_request
from penstock.protocol.grpc.encoding import encode_response, response_of
from penstock.protocol.grpc.messages import ModelInferRequest, ModelInferResponse
from penstock.protocol.limits import Limits
from penstock.tensors import DATATYPES, Tensor

LIMITS = Limits(tensors=8, name_bytes=32, elements=1000, rows=500, body_bytes=100_000)
CONTEXT = Context("id")
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn, name: str = "x") -> Tensor:
    datatype = draw(st.sampled_from(sorted(DATATYPES)))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        size = math.prod(shape)
        return Tensor.from_flat(name, datatype, shape, draw(st.lists(st.binary(max_size=9), min_size=size, max_size=size)))
    return Tensor.from_array(name, draw(arrays.arrays(DATATYPES[datatype].dtype, shape)))


def message(tensors: list[Tensor], *, raw: bool, **members: Any) -> bytes:
    """A request as a client writes it."""
    wire = ModelInferRequest(model_name="m", **members)
    for tensor in tensors:
        item = wire.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            wire.raw_input_contents.append(bytes(tensor.raw))
        else:
            fill_contents(tensor, item.contents)
    return bytes(wire.SerializeToString())


def decoded(wire: Any) -> InferRequest:
    return decode_request(wire if isinstance(wire, bytes) else wire.SerializeToString(), context=CONTEXT, limits=LIMITS)


def same(one: Tensor, other: Tensor) -> None:
    assert (one.name, one.datatype, one.shape) == (other.name, other.datatype, other.shape)
    assert bytes(one.raw) == bytes(other.raw)


@given(st.data())
def test_a_request_arrives_as_it_was_sent(data: st.DataObject) -> None:
    sent = [data.draw(tensors(name)) for name in ("a", "b")]
    raw = data.draw(st.booleans()) or any(tensor.datatype == "FP16" for tensor in sent)
    request = decoded(message(sent, raw=raw))
    assert (request.model, request.version, request.id, request.outputs, request.parameters) == ("m", None, None, None, None)
    assert request.binary_output is raw
    for mine, theirs in zip(sent, request.inputs, strict=True):
        same(mine, theirs)


@given(st.data())
def test_an_answer_arrives_in_the_form_of_its_request(data: st.DataObject) -> None:
    made = [data.draw(tensors(name)) for name in ("a", "b")]
    asked = InferRequest("m", [], CONTEXT, id="7", binary_output=data.draw(st.booleans()))
    wire = ModelInferResponse.FromString(encode_response(InferResponse("m", made, "m@sha256:0", version="3"), asked))
    assert (wire.model_name, wire.model_version, wire.id) == ("m", "3", "7")
    raw = asked.binary_output or any(tensor.datatype == "FP16" for tensor in made)
    assert len(wire.raw_output_contents) == (len(made) if raw else 0)
    for at, (tensor, output) in enumerate(zip(made, wire.outputs, strict=True)):
        assert (output.name, output.datatype, tuple(output.shape)) == (tensor.name, tensor.datatype, tensor.shape)
        if raw:
            assert wire.raw_output_contents[at] == bytes(tensor.raw)
        else:
            elements = list(getattr(output.contents, LISTS[tensor.datatype]))
            same(Tensor.from_flat(tensor.name, tensor.datatype, tensor.shape, elements), tensor)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_an_error_that_says_why(junk: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        decoded(junk)


@given(st.data())
def test_a_request_that_was_bent_is_a_request_or_an_error_that_says_why(data: st.DataObject) -> None:
    sent = bytearray(message([data.draw(tensors())], raw=True, id="1"))
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidInput):
        decoded(bytes(sent))


def test_parameters_outputs_id_and_version_are_read() -> None:
    wire = ModelInferRequest.FromString(message([Tensor.from_array("x", np.zeros(2, np.float32))], raw=True))
    wire.id, wire.model_version = "q", "2"
    for name, kind, value in (
        ("b", "bool", True),
        ("i", "int64", -1),
        ("s", "string", "ü"),
        ("d", "double", 0.5),
        ("u", "uint64", 2**63),
    ):
        setattr(wire.parameters[name], f"{kind}_param", value)
    wire.outputs.add(name="y").parameters["k"].int64_param = 3
    request = decoded(wire)
    assert (request.id, request.version) == ("q", "2")
    assert request.parameters == {"b": True, "i": -1, "s": "ü", "d": 0.5, "u": 2**63}
    assert request.outputs is not None
    assert [(output.name, output.parameters) for output in request.outputs] == [("y", {"k": 3})]


def test_parameters_of_an_answer_travel_by_their_kind() -> None:
    parameters = {"b": False, "i": 5, "u": 2**64 - 1, "huge": 2**70, "d": 1.5, "s": "t", "list": [1, 2], "none": None}
    wire = response_of(InferResponse("m", [], "", parameters=parameters), InferRequest("m", [], CONTEXT))
    found = {name: (value.WhichOneof("parameter_choice"), getattr(value, value.WhichOneof("parameter_choice")))
             for name, value in wire.parameters.items()}  # fmt: skip
    assert found.pop("huge")[0] == "string_param"
    assert found == {
        "b": ("bool_param", False), "i": ("int64_param", 5), "u": ("uint64_param", 2**64 - 1),
        "d": ("double_param", 1.5), "s": ("string_param", "t"), "list": ("string_param", "[1,2]"),
    }  # fmt: skip


def request(*, raws: tuple[bytes, ...] = (), **members: Any) -> Any:
    item = {"name": "x", "datatype": "FP32", "shape": [1, 2]} | members
    return ModelInferRequest(model_name="m", inputs=[item], raw_input_contents=raws)


@pytest.mark.parametrize(
    ("wire", "kind", "message"),
    [
        (b"\xff\xff", InvalidInput, "expected a inference.ModelInferRequest, got 2 bytes that are none"),
        (ModelInferRequest(model_name="m"), InvalidInput, "inputs: expected at least one tensor, got none"),
        (request(raws=(b"1234567",)), InvalidInput, "raw_input_contents[0]: expected 8 bytes for FP32 [1, 2], got 7"),
        (request(raws=(b"12345678", b"")), InvalidInput, "raw_input_contents: expected 1 entries, one for each input, got 2"),
        (request(raws=(b"12345678",), contents={"fp32_contents": [1, 2]}), InvalidInput,
         "inputs[0].contents: expected either raw_input_contents or contents, got both"),
        (request(), InvalidInput, "inputs[0].contents.fp32_contents: expected 2 elements for shape [1, 2], got 0"),
        (request(contents={"fp32_contents": [1]}), InvalidInput, "inputs[0].contents.fp32_contents: expected 2 elements"),
        (request(contents={"fp64_contents": [1, 2]}), InvalidInput,
         "inputs[0].contents: expected fp32_contents for FP32, got fp64_contents"),
        (request(datatype="UINT8", contents={"uint_contents": [1, 256]}), InvalidInput,
         "inputs[0].contents.uint_contents[1]: expected an integer from 0 to 255, got 256"),
        (request(datatype="INT8", contents={"int_contents": [-129, 0]}), InvalidInput,
         "inputs[0].contents.int_contents[0]: expected an integer from -128 to 127, got -129"),
        (request(datatype="FP16", contents={"fp32_contents": [1, 2]}), InvalidInput, "FP16 has no typed contents"),
        (request(datatype="FLOAT", raws=(b"",)), InvalidInput, 'inputs[0].datatype: expected one of BOOL'),
        (request(name="", raws=(b"",)), InvalidInput, "inputs[0].name: expected a name"),
        (request(name="n" * 33, raws=(b"",)), TooLarge, "inputs[0].name: expected at most 32 characters, got 33"),
        (request(shape=[-1, 2], raws=(b"",)), InvalidInput, "inputs[0].shape: expected sizes of 0 or more, got [-1, 2]"),
        (request(shape=[10, 1001], raws=(b"",)), TooLarge, "inputs[0].shape: expected at most 1000 elements"),
        (request(shape=[501], raws=(b"",)), TooLarge, "inputs[0].shape: expected at most 500 rows"),
        (request(datatype="BOOL", raws=(b"\x00\x02",)), InvalidInput, "raw_input_contents[0]: expected bytes of 0 and 1 only"),
        (request(datatype="BYTES", shape=[1], raws=(b"\x09\x00\x00\x00abc",)), InvalidInput,
         "raw_input_contents[0]: element 0 claims 9 bytes, 3 are left"),
        (request(parameters={"shared_memory_region": {"string_param": "r"}}), InvalidInput,
         "inputs[0].parameters.shared_memory_region: shared memory is not offered here"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(wire: Any, kind: type[InvalidInput], message: str) -> None:
    with pytest.raises(kind) as caught:
        decoded(wire)
    assert message in str(caught.value)


def test_faults_around_the_tensors_are_named() -> None:
    good = message([Tensor.from_array("x", np.zeros(1, np.float32))], raw=True)

    def refused(change: Any) -> str:
        wire = ModelInferRequest.FromString(good)
        change(wire)
        with pytest.raises(InvalidInput) as caught:
            decoded(wire)
        return str(caught.value)

    assert refused(lambda wire: setattr(wire, "id", "i" * 33)) == "id: expected at most 32 characters, got 33"
    assert refused(lambda wire: wire.parameters["p"].SetInParent()) == "parameters.p: expected a value of one kind, got nothing"
    assert refused(lambda wire: wire.outputs.add()) == "outputs[0].name: expected a name of 1 to 32 characters"
    assert refused(lambda wire: [wire.outputs.add(name="y") for _ in range(2)]).startswith('outputs[1].name: "y" is already')
    assert refused(lambda wire: [wire.outputs.add(name=str(n)) for n in range(9)]).startswith("outputs: expected at most 8")
    assert refused(lambda wire: [wire.inputs.add(name=str(n)) for n in range(9)]).startswith("inputs: expected at most 8")
    twice = message([Tensor.from_array("x", np.zeros(1, np.float32))] * 2, raw=True)
    with pytest.raises(InvalidInput, match=r'inputs\[1\]\.name: "x" is already the name of inputs\[0\]'):
        decoded(twice)


@given(st.data())
def test_a_raw_answer_put_together_is_the_one_that_protobuf_makes(data: st.DataObject) -> None:
    made = [data.draw(tensors(name)) for name in data.draw(st.lists(st.sampled_from("abc"), unique=True))]
    long = Tensor.from_array("long", np.zeros(data.draw(st.sampled_from([0, 127, 128, 16383, 16384, 300_000])), np.uint8))
    response = InferResponse("m", [*made, long], "m@sha256:0", version=data.draw(st.sampled_from([None, "3"])))
    asked = InferRequest("m", [], CONTEXT, id=data.draw(st.none() | st.text(max_size=200)), binary_output=True)
    assert ModelInferResponse.FromString(encode_response(response, asked)) == response_of(response, asked)

"""Damaged and made-up v2 requests: the fast way and the slow one say the same of any bytes, and it can be shown to the caller."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.dataplane import Context, InferRequest
from penstock.errors import PenstockError
from penstock.protocol.limits import Limits
from penstock.protocol.v2.validation import validate_request

SEEDS = [
    b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}',
    b'{"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "b"]}],'
    b' "outputs": [{"name": "y"}], "id": "1"}',
    b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}]}' + b"\0" * 8,
]


def outcome(call: Callable[[], InferRequest]) -> tuple[Any, ...]:
    """All that a request holds, or the error that came instead: a PenstockError that can be shown, and nothing else."""
    try:
        got = call()
    except PenstockError as error:
        return (type(error), str(error), str(error).isprintable() or pytest.fail(f"cannot be shown: {error!r}"))
    tensors = [(part.name, part.datatype, part.array.shape, bytes(part.raw)) for part in got.inputs]
    assert all(part.array.shape == part.shape for part in got.inputs)
    return (tensors, got.id, got.outputs, got.parameters, got.binary_output)


def agree(decode: Any, text: bytes, header_length: int | None) -> None:
    """The fast way and the slow one say the same of any bytes; the second time (plans and headers known) as the first."""
    first = outcome(lambda: decode(text, header_length))
    assert outcome(lambda: decode(text, header_length)) == first
    if header_length is None or 0 < header_length <= len(text):
        header, behind = text[:header_length], None if header_length is None else text
        assert outcome(lambda: validate_request(header, behind, "m", None, Context("r"), Limits())) == first


@given(st.binary(max_size=64), st.none() | st.integers(-2, 70))
@example(b"\x00", 1)
def test_random_bytes(decode: Any, text: bytes, header_length: int | None) -> None:
    agree(decode, text, header_length)


@given(st.sampled_from(SEEDS), st.data())
def test_damaged_requests(decode: Any, seed: bytes, data: st.DataObject) -> None:
    """A request with some bytes changed, cut or repeated is a request or a PenstockError."""
    text = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1)) if text else 0
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    header_length = data.draw(st.none() | st.integers(0, len(text) + 1))
    agree(decode, bytes(text), header_length)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("damage", [b"\x80", b"\xc3", b"\xff"])
def test_text_that_is_not_utf_8_anywhere(decode: Any, seed: bytes, damage: bytes) -> None:
    """In a member's name, too, that nobody asks for."""
    for at in range(len(seed)):
        agree(decode, seed[:at] + damage + seed[at:], None)
        if b"binary_data_size" in seed:
            agree(decode, seed[:at] + damage + seed[at:], seed.rindex(b"}") + 2)


values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "data", "shape"]), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "inputs": values
            | st.lists(
                st.fixed_dictionaries(
                    {"name": st.text(max_size=2) | values, "shape": st.lists(st.integers(-1, 3), max_size=3) | values},
                    optional={
                        "datatype": st.sampled_from(["FP32", "INT8", "BOOL", "BYTES", "FP16", "UINT64"]) | values,
                        "data": values,
                        "parameters": values,
                    },
                ),
                max_size=3,
            ),
            "outputs": values,
            "parameters": values,
            "id": values,
        },
    ),
    st.none() | st.binary(max_size=16),
)
def test_random_documents(decode: Any, document: dict[str, Any], tail: bytes | None) -> None:
    """JSON of nearly the right form, with anything in it."""
    text = json.dumps(document).encode()
    agree(decode, text + (tail or b""), None if tail is None else len(text))
